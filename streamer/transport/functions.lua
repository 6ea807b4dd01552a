#!lua name=streamer_1
-- The data plane's atomic steps. Everything is validated before the first write: a function that
-- fails half-way keeps what it wrote. All keys of a call share one hash slot.

-- KEYS[1] source hash, KEYS[2] frame path. ARGV: session.
-- Returns {epoch, last_us}: new positions must be after last_us, in the log and in the frame path.
local function open_source(keys, args)
  local stored = redis.call('HMGET', keys[1], 'session', 'last_us')
  local last = stored[2] or '0'
  if redis.call('EXISTS', keys[2]) == 1 then
    local info = redis.call('XINFO', 'STREAM', keys[2])
    for i = 1, #info, 2 do
      if info[i] == 'last-generated-id' then
        local in_path = string.match(info[i + 1], '^%d+')
        if tonumber(in_path) > tonumber(last) then last = in_path end
      end
    end
    -- Frames of another session would be refused anyway.
    if stored[1] ~= args[1] then redis.call('DEL', keys[2]) end
  end
  redis.call('HSET', keys[1], 'session', args[1])
  return {redis.call('HINCRBY', keys[1], 'epoch', 1), last}
end

-- KEYS: source hash, features stream and frame path of each entry. What the log has taken is also
-- removed from the frame path: consuming frames and producing features is one step.
-- ARGV: cap, then session, entry_us, previous_us (-1: unknown), payload of each entry.
-- Returns {answer, last_us} of each entry.
local function publish(keys, args)
  local cap = tonumber(args[1])
  local answers = {}
  for i = 1, #keys / 3 do
    local source, features, frames = keys[3 * i - 2], keys[3 * i - 1], keys[3 * i]
    local base = 2 + (i - 1) * 4
    local session, entry_us, previous = args[base], tonumber(args[base + 1]), tonumber(args[base + 2])
    local stored = redis.call('HMGET', source, 'session', 'last_us')
    local last_text = stored[2] or '0'
    local last = tonumber(last_text)
    if stored[1] ~= session then
      answers[i] = {'fenced', last_text}
    elseif entry_us <= last then
      answers[i] = {'duplicate', last_text}
    elseif previous >= 0 and previous ~= last then
      answers[i] = {'gap', last_text}
    elseif redis.call('XLEN', features) >= cap then
      answers[i] = {'full', last_text}
    else
      redis.call('XADD', features, args[base + 1] .. '-0', 'e', args[base + 3])
      redis.call('HSET', source, 'last_us', args[base + 1])
      answers[i] = {'accepted', args[base + 1]}
    end
    if answers[i][1] == 'accepted' or answers[i][1] == 'duplicate' then
      redis.call('XTRIM', frames, 'MINID', args[base + 1] .. '-1')
    end
  end
  return answers
end

local function now_ms()
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end

-- KEYS[1] lease hash. ARGV: owner, ttl in ms.
-- Returns the generation, or false while another owner's lease lasts.
local function acquire(keys, args)
  local stored = redis.call('HMGET', keys[1], 'owner', 'expires_ms', 'generation')
  local now = now_ms()
  local mine = stored[1] == args[1]
  if stored[1] and not mine and tonumber(stored[2]) > now then
    return false
  end
  local generation = tonumber(stored[3] or '0')
  if not mine then generation = generation + 1 end
  redis.call('HSET', keys[1], 'owner', args[1], 'generation', generation,
    'expires_ms', now + tonumber(args[2]))
  return generation
end

-- KEYS[1] lease hash. ARGV: owner. Keeps the generation.
local function release(keys, args)
  if redis.call('HGET', keys[1], 'owner') == args[1] then
    return redis.call('HDEL', keys[1], 'owner', 'expires_ms')
  end
  return 0
end

-- KEYS: lease, events stream, then state hash and features stream of each commit.
-- ARGV: owner, most events kept, then for each commit: expected version, new version, position,
--   state, number of events, and type, stream, id, sequence, JSON of each event.
-- Returns one answer per commit.
local function commit(keys, args)
  local num = (#keys - 2) / 2
  local owns = redis.call('HGET', keys[1], 'owner') == args[1]
  local answers, at, offsets = {}, 3, {}
  -- 1. Judge every commit before the first write.
  for i = 1, num do
    local stored = redis.call('HGET', keys[1 + 2 * i], 'version') or ''
    offsets[i] = at
    if stored == args[at + 1] then
      answers[i] = 'done'
    elseif not owns then
      answers[i] = 'fenced'
    elseif stored ~= args[at] then
      answers[i] = 'stale'
    else
      answers[i] = 'ok'
    end
    at = at + 5 + 5 * tonumber(args[at + 4])
  end
  -- 2. Write those that passed: events, then state and position, then make room in the input.
  for i = 1, num do
    if answers[i] == 'ok' then
      local o = offsets[i]
      for e = 0, tonumber(args[o + 4]) - 1 do
        local f = o + 5 + 5 * e
        redis.call('XADD', keys[2], 'MAXLEN', '~', args[2], '*', 'type', args[f],
          'stream', args[f + 1], 'id', args[f + 2], 'sequence', args[f + 3], 'event', args[f + 4])
      end
      redis.call('HSET', keys[1 + 2 * i], 'version', args[o + 1], 'position', args[o + 2],
        'state', args[o + 3])
      redis.call('XTRIM', keys[2 + 2 * i], 'MINID', tostring(args[o + 2]) .. '-1')
    end
  end
  return answers
end

redis.register_function('streamer_1_open_source', open_source)
redis.register_function('streamer_1_publish', publish)
redis.register_function('streamer_1_acquire', acquire)
redis.register_function('streamer_1_release', release)
redis.register_function('streamer_1_commit', commit)
