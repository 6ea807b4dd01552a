"""The dashboards as code: a module per dashboard, `python -m deploy.grafana.source` writes them.

Made with grafana-foundation-sdk for Grafana 11.6: the classic dashboard schema, which later
versions read too.
"""
