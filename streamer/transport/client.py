"""redis-py's client, whose errors name user, reason and remedy when a server refuses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import redis
from redis.client import Pipeline

from streamer.transport.access import PasswordFile
from streamer.transport.denied import explained, is_denial

if TYPE_CHECKING:
    from collections.abc import Sequence


class Client(redis.Redis):
    """Of one server, or of a service that sentinels watch."""

    def execute_command(self, *args: Any, **options: Any) -> Any:
        """As redis-py's.

        Raises:
            NoPermissionError: With the permission that is missing.
            redis.AuthenticationError: With the user and the setting.
        """
        try:
            return self._execute(*args, **options)
        except (redis.ResponseError, redis.AuthenticationError) as error:
            clear = self.clarified(error, args)
            if clear is error:
                raise
            raise clear from error

    def pipeline(self, transaction: bool = True, shard_hint: str | None = None) -> Pipeline:
        """As redis-py's, whose errors are as clear."""
        return ClearPipeline(self, transaction, shard_hint)

    def clarified(self, error: Exception, args: Sequence[Any]) -> Exception:
        """An error in words; itself, if it is no refusal."""
        connection = self.connection_pool.connection_kwargs
        if is_denial(error):
            return explained(error, args, user=user_of(connection), ask=self._execute)
        if isinstance(error, redis.AuthenticationError):
            return refused(error, connection)
        return error

    def _execute(self, *args: Any, **options: Any) -> Any:
        return super().execute_command(*args, **options)  # type: ignore[no-untyped-call]


class ClearPipeline(Pipeline):
    """Of a `Client`."""

    def __init__(self, client: Client, transaction: bool, shard_hint: str | None) -> None:
        super().__init__(client.connection_pool, client.response_callbacks, transaction, shard_hint)
        self._client = client

    def execute(self, raise_on_error: bool = True) -> list[Any]:
        """As redis-py's, without the number of the command in the message."""
        commands = [args for args, _ in self.command_stack]
        try:
            answers = super().execute(raise_on_error=False)
        except redis.AuthenticationError as error:
            raise self._client.clarified(error, ()) from error
        clear = [
            self._client.clarified(answer, args) if isinstance(answer, Exception) else answer
            for answer, args in zip(answers, commands, strict=True)
        ]
        for answer in clear:
            if raise_on_error and isinstance(answer, Exception):
                raise answer
        return clear


def refused(error: Exception, connection: dict[str, Any]) -> redis.AuthenticationError:
    """What a server that does not let us in means, in words.

    Args:
        error: As redis-py raised it.
        connection: Its options of the connection.
    """
    provider = connection.get("credential_provider")
    if str(error).startswith("redis."):  # of the password's file
        return redis.AuthenticationError(str(error))
    if provider is None and not connection.get("password"):
        return redis.AuthenticationError(
            "the server wants a user and a password; set redis.username and redis.password_file"
        )
    source = (
        f"the password in {provider.path} (redis.password_file)"
        if isinstance(provider, PasswordFile)
        else "the password in redis.url"
    )
    return redis.AuthenticationError(
        f"the server does not know user {user_of(connection)} with {source}, or the user is off; "
        "`streamer redis acl` writes the server's users, ACL LOAD has it read them"
    )


def user_of(connection: dict[str, Any]) -> str:
    """Who connections with these options are."""
    provider = connection.get("credential_provider")
    name = provider.username if isinstance(provider, PasswordFile) else connection.get("username")
    return name or "default"
