#!lua name=streamer_2
-- The data plane's atomic steps. Everything is validated before the first write: a function that
-- fails half-way keeps what it wrote. All keys of a call share one hash slot (those of members
-- and leases too). A stream whose key holds something that is not ours is answered 'foreign',
-- and delays no other.

local function now_ms()
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end

local function holds(key, kind)
  local found = redis.call('TYPE', key).ok
  return found == kind or found == 'none'
end

-- As redis.pcall; but that the caller lacks a permission says nothing about the key, and is an error.
local function look(command, key, ...)
  local reply = redis.pcall(command, key, ...)
  if type(reply) == 'table' and reply.err and not redis.acl_check_cmd(command, key, ...) then
    error({err = 'NOPERM ' .. command .. ' ' .. key})
  end
  return reply
end

-- Before the first write: that the caller may do what is to follow. Half of it would be worse than none.
local function demand(command, key, ...)
  if not redis.acl_check_cmd(command, key, ...) then
    error({err = 'NOPERM ' .. command .. ' ' .. key})
  end
end

-- ARGV: of each command the number of its words, and these. Returns of each 1, or 0 if the caller may
-- not run it. Nothing is run.
local function may(keys, args)
  local answers, at = {}, 1
  while at <= #args do
    local last = at + tonumber(args[at])
    answers[#answers + 1] = redis.acl_check_cmd(unpack(args, at + 1, last)) and 1 or 0
    at = last + 1
  end
  return answers
end

-- KEYS[1] source hash, KEYS[2] frame path, KEYS[3] watch lease. ARGV: session, owner of the lease,
-- the least epoch: one that Redis has forgotten must not be given again.
-- Returns {epoch, last_us, abandoned}: new positions must be after last_us, in the log and in the
-- frame path; `abandoned` frames of another session were waiting there and are no more.
-- False while another owner holds the lease of the stream.
local function open_source(keys, args)
  local owner = redis.call('HGET', keys[3], 'owner')
  if owner and owner ~= args[2] then return false end
  local stored = redis.call('HMGET', keys[1], 'session', 'last_us', 'frame_us', 'epoch')
  local last, in_path = stored[2] or '0', stored[3] or '0'
  if tonumber(in_path) > tonumber(last) then last = in_path end
  local abandoned = 0
  if stored[1] ~= args[1] then
    -- Frames of another session would be refused anyway.
    for _, entry in ipairs(redis.call('XRANGE', keys[2], '-', '+')) do
      if string.find(string.sub(entry[2][2], 1, 12), 'frame/', 1, true) then
        abandoned = abandoned + 1
      end
    end
    redis.call('DEL', keys[2])
  end
  local epoch = math.max(tonumber(stored[4] or '0') + 1, tonumber(args[3]))
  redis.call('HSET', keys[1], 'session', args[1], 'epoch', epoch)
  return {epoch, last, abandoned}
end

-- Another session's, or one that is newer than what is stored: Redis has lost its newest writes, and
-- will be told of it by `reclaim`.
local function stranger(stored_epoch, epoch)
  return tonumber(stored_epoch or '0') < tonumber(epoch) and 'forgotten' or 'fenced'
end

-- After Redis has lost its newest writes: the session that still holds the lease has its source back.
-- KEYS[1] source hash, KEYS[2] watch lease. ARGV: session, owner of the lease, epoch.
-- Returns 1, or 0 if the lease is another's.
local function reclaim(keys, args)
  if redis.call('HGET', keys[2], 'owner') ~= args[2] then return 0 end
  local stored = tonumber(redis.call('HGET', keys[1], 'epoch') or '0')
  redis.call('HSET', keys[1], 'session', args[1], 'epoch', math.max(stored, tonumber(args[3])))
  return 1
end

-- KEYS: source hash and frame path of each stream.
-- ARGV, of each stream: session, epoch, position of the entry before (-1: unknown), number of entries,
--   number of evictions; position and payload of each entry; position of each eviction.
-- Returns {answer, last_us, length} of each stream. Entries that are there already, or have become
-- features already, are passed over.
local function send(keys, args)
  local answers, at = {}, 1
  demand('XADD', keys[2], '1-0', 'e', '')
  demand('XDEL', keys[2], '1-0')
  demand('HSET', keys[1], 'frame_us', '')
  for i = 1, #keys / 2 do
    local source, path = keys[2 * i - 1], keys[2 * i]
    local session, epoch, previous = args[at], args[at + 1], tonumber(args[at + 2])
    local entries, evicted = tonumber(args[at + 3]), tonumber(args[at + 4])
    local first = at + 5
    at = first + 2 * entries + evicted
    local stored = look('HMGET', source, 'session', 'frame_us', 'last_us', 'epoch')
    if stored.err or not holds(path, 'stream') then
      answers[i] = {'foreign', stored.err and source or path, 0}
    else
      local last_text = stored[2] or '0'
      local last, answer = tonumber(last_text), 'accepted'
      local encoded = tonumber(stored[3] or '0')
      if stored[1] ~= session then
        answer = stranger(stored[4], epoch)
      elseif previous >= 0 and previous > last then
        answer = 'gap'
      else
        for e = 0, entries - 1 do
          local us = args[first + 2 * e]
          if tonumber(us) > last then
            if tonumber(us) > encoded then
              redis.call('XADD', path, us .. '-0', 'e', args[first + 2 * e + 1])
            end
            last, last_text = tonumber(us), us
          end
        end
        for e = 0, evicted - 1 do
          redis.call('XDEL', path, args[first + 2 * entries + e] .. '-0')
        end
        if entries > 0 then redis.call('HSET', source, 'frame_us', last_text) end
      end
      answers[i] = {answer, last_text, redis.call('XLEN', path)}
    end
  end
  return answers
end

-- KEYS: source hash, features stream, frame path and state hash of each entry. What the log has
-- taken is also removed from the frame path: consuming frames and producing features is one step.
-- ARGV: cap, then session, epoch, entry_us, previous_us (-1: unknown), payload of each entry; then, if
-- any has some, the traces of each.
-- Returns {answer, last_us} of each entry.
local function publish(keys, args)
  local cap = tonumber(args[1])
  local answers = {}
  demand('XADD', keys[2], '1-0', 'e', '')
  demand('XTRIM', keys[2], 'MINID', '1')
  demand('XTRIM', keys[3], 'MINID', '1')
  demand('HGET', keys[4], 'position')
  demand('HSET', keys[1], 'last_us', '')
  for i = 1, #keys / 4 do
    local source, features, frames, state = keys[4 * i - 3], keys[4 * i - 2], keys[4 * i - 1], keys[4 * i]
    local base = 3 + (i - 1) * 5
    local session, epoch = args[base - 1], args[base]
    local entry_us, previous = tonumber(args[base + 1]), tonumber(args[base + 2])
    local stored = look('HMGET', source, 'session', 'last_us', 'epoch')
    local length = look('XLEN', features)
    if stored.err then
      answers[i] = {'foreign', source}
    elseif type(length) == 'table' then
      answers[i] = {'foreign', features}
    else
      local last_text = stored[2] or '0'
      local last = tonumber(last_text)
      if stored[1] ~= session then
        answers[i] = {stranger(stored[3], epoch), last_text}
      elseif entry_us <= last then
        answers[i] = {'duplicate', last_text}
      elseif previous >= 0 and previous ~= last then
        answers[i] = {'gap', last_text}
      else
        if length >= cap then
          -- Entries kept for replay give way to those that nobody has read yet.
          local position = redis.pcall('HGET', state, 'position')
          if type(position) == 'string' then
            length = length - redis.call('XTRIM', features, 'MINID', position .. '-1')
          end
        end
        if length >= cap then
          answers[i] = {'full', last_text}
        else
          local fields = {'e', args[base + 3]}
          local traces = args[1 + 5 * (#keys / 4) + i]
          if traces and traces ~= '' then fields = {'e', args[base + 3], 't', traces} end
          local added = redis.pcall('XADD', features, args[base + 1] .. '-0', unpack(fields))
          if type(added) == 'table' and added.err then
            -- Somebody has written to our key, further on than we are.
            answers[i] = {'foreign', features}
          else
            redis.call('HSET', source, 'last_us', args[base + 1])
            answers[i] = {'accepted', args[base + 1]}
          end
        end
      end
      if answers[i][1] == 'accepted' or answers[i][1] == 'duplicate' then
        redis.pcall('XTRIM', frames, 'MINID', args[base + 1] .. '-1')
      end
    end
  end
  return answers
end

-- When memory is full: what is kept for replay only is given up.
-- KEYS: features stream, anchors stream and state hash of each stream. Returns entries removed.
local function relieve(keys, args)
  local removed = 0
  for i = 1, #keys / 3 do
    local position = look('HGET', keys[3 * i], 'position')
    if type(position) == 'string' then
      for _, key in ipairs({keys[3 * i - 2], keys[3 * i - 1]}) do
        local trimmed = look('XTRIM', key, 'MINID', position .. '-1')
        if type(trimmed) == 'number' then removed = removed + trimmed end
      end
    end
  end
  return removed
end

-- KEYS: lease hashes. ARGV: owner, ttl in ms, and of each the generation the caller has had, if any.
-- Returns of each the generation, or 0 while another owner's lease lasts. A lease older than the
-- caller's is one that Redis should not have any more: it has lost its newest writes.
local function acquire(keys, args)
  local owner, ttl, now = args[1], tonumber(args[2]), now_ms()
  local answers = {}
  for i, key in ipairs(keys) do
    local stored = redis.call('HMGET', key, 'owner', 'expires_ms', 'generation', 'ttl_ms')
    local generation = tonumber(stored[3] or '0')
    local had, expires = tonumber(args[2 + i] or '0'), tonumber(stored[2] or '0')
    local mine = stored[1] == owner or had > generation
    if stored[1] and not mine and expires > now then
      -- No lease lasts longer than its time. One that seems to: the clock was set back.
      local longest = now + tonumber(stored[4] or ttl)
      if expires > longest then redis.call('HSET', key, 'expires_ms', longest) end
      answers[i] = 0
    else
      generation = mine and math.max(generation, had) or generation + 1
      redis.call('HSET', key, 'owner', owner, 'generation', generation,
        'expires_ms', now + ttl, 'ttl_ms', ttl)
      answers[i] = generation
    end
  end
  return answers
end

-- KEYS: lease hashes. ARGV: owner. Keeps the generations.
local function release(keys, args)
  local released = 0
  for _, key in ipairs(keys) do
    if redis.call('HGET', key, 'owner') == args[1] then
      redis.call('HDEL', key, 'owner', 'expires_ms', 'ttl_ms')
      released = released + 1
    end
  end
  return released
end

-- KEYS[1] sorted set: the live members of a role by the end of their time. ARGV: member, ttl in ms.
-- Returns the members that live now.
local function join(keys, args)
  local now, ttl = now_ms(), tonumber(args[2])
  redis.call('ZREMRANGEBYSCORE', keys[1], '-inf', now)
  -- Nobody's time is longer than that; one that seems so: the clock was set back.
  for _, member in ipairs(redis.call('ZRANGEBYSCORE', keys[1], '(' .. (now + ttl), '+inf')) do
    redis.call('ZADD', keys[1], now + ttl, member)
  end
  redis.call('ZADD', keys[1], now + ttl, args[1])
  return redis.call('ZRANGE', keys[1], 0, -1)
end

-- KEYS[1] as above. ARGV: member.
local function leave(keys, args)
  return redis.call('ZREM', keys[1], args[1])
end

-- Compare and set. KEYS[1] hash. ARGV: field, the value it must have (empty: none), the value it is to
-- have (empty: none), the slot that no other field's entry may have (empty: any).
-- Returns 'done'; 'changed', if it has another value; or 'taken', if another entry has the slot.
local function swap(keys, args)
  if (redis.call('HGET', keys[1], args[1]) or '') ~= args[2] then return 'changed' end
  local slot = tonumber(args[4])
  local all = slot and redis.call('HGETALL', keys[1]) or {}
  for i = 1, #all, 2 do
    local read, entry = pcall(cjson.decode, all[i + 1])
    if all[i] ~= args[1] and read and type(entry) == 'table' and entry.slot == slot then
      return 'taken'
    end
  end
  if args[3] == '' then
    redis.call('HDEL', keys[1], args[1])
  else
    redis.call('HSET', keys[1], args[1], args[3])
  end
  return 'done'
end

-- KEYS[1] pictures of a stream. ARGV: epoch-seq of the frame, the picture, most pictures kept, longest
-- time in ms they are kept. Returns 1, or 0 if this one or a later one is there already, or something
-- that is not ours.
local function keep_picture(keys, args)
  local now = now_ms()
  if not holds(keys[1], 'stream') then return 0 end
  demand('PEXPIRE', keys[1], args[4])
  local added = look('XADD', keys[1], 'MAXLEN', args[3], args[1], 'kept_ms', now, 'p', args[2])
  if type(added) == 'table' and added.err then return 0 end
  redis.call('PEXPIRE', keys[1], args[4])
  local oldest = redis.call('XRANGE', keys[1], '-', '+', 'COUNT', 1)[1]
  while oldest and tonumber(oldest[2][2]) < now - tonumber(args[4]) do
    redis.call('XDEL', keys[1], oldest[1])
    oldest = redis.call('XRANGE', keys[1], '-', '+', 'COUNT', 1)[1]
  end
  return 1
end

-- Before a step that may kill the worker: how often it has been tried.
-- KEYS: state hashes. ARGV: attempts of each. A commit sets them back.
local function attempt(keys, args)
  for i, key in ipairs(keys) do
    if holds(key, 'hash') then redis.call('HSET', key, 'attempts', args[i]) end
  end
  return #keys
end

-- KEYS: lease, events stream, dead letters, then state hash, features stream and anchors stream of
--   each commit.
-- ARGV: owner, most events kept, longest time in ms an event is kept, most dead letters kept, then
--   for each commit: expected version, new version, position, event sequence, model, state, oldest
--   position to keep, state before (empty: no anchor) and its position, number of dead letters and
--   of events; position, reason, detail and bytes of each dead letter; type, stream, id, sequence
--   and JSON of each event.
-- Returns one answer per commit.
local function commit(keys, args)
  local num = #keys / 3 - 1
  demand('XADD', keys[2], '*', 'e', '')
  demand('XTRIM', keys[2], 'MINID', '1')
  demand('XADD', keys[3], '*', 'e', '')
  demand('HSET', keys[4], 'version', '')
  demand('XTRIM', keys[5], 'MINID', '1')
  demand('XADD', keys[6], '*', 'e', '')
  demand('XTRIM', keys[6], 'MINID', '1')
  demand('DEL', keys[6])
  local owner = look('HGET', keys[1], 'owner')
  local usable = holds(keys[2], 'stream') and holds(keys[3], 'stream')
  local answers, at, offsets, num_events = {}, 5, {}, 0
  -- 1. Judge every commit before the first write.
  for i = 1, num do
    local stored = look('HGET', keys[1 + 3 * i], 'version')
    offsets[i] = at
    if type(stored) == 'table' or not usable or not holds(keys[3 + 3 * i], 'stream') then
      answers[i] = 'foreign'
    else
      stored = stored or ''
      if stored == args[at + 1] then
        answers[i] = 'done'
      elseif owner ~= args[1] then
        answers[i] = 'fenced'
      elseif stored ~= args[at] then
        answers[i] = 'stale'
      else
        answers[i] = 'ok'
      end
    end
    at = at + 11 + 4 * tonumber(args[at + 9]) + 5 * tonumber(args[at + 10])
  end
  -- 2. Write those that passed: what was refused, events, state and position, then make room.
  for i = 1, num do
    if answers[i] == 'ok' then
      local state, features, anchors = keys[1 + 3 * i], keys[2 + 3 * i], keys[3 + 3 * i]
      local o = offsets[i]
      local expected, keep, before = args[o], args[o + 6] .. '-0', args[o + 7]
      local letters, events = tonumber(args[o + 9]), tonumber(args[o + 10])
      local f = o + 11
      for _ = 1, letters do
        redis.call('XADD', keys[3], 'MAXLEN', '~', args[4], '*', 'key', features,
          'position', args[f], 'reason', args[f + 1], 'detail', args[f + 2], 'bytes', args[f + 3])
        f = f + 4
      end
      for _ = 1, events do
        redis.call('XADD', keys[2], 'MAXLEN', '~', args[2], '*', 'type', args[f],
          'stream', args[f + 1], 'id', args[f + 2], 'sequence', args[f + 3], 'event', args[f + 4])
        f = f + 5
      end
      num_events = num_events + events
      if before ~= '' then
        -- Those there are of a state that was removed: the stream begins anew.
        if expected == '' then redis.call('DEL', anchors) end
        -- A replay may miss it; the rest must not be left half written.
        redis.pcall('XADD', anchors, args[o + 8] .. '-*', 'version', expected, 'state', before)
        redis.call('XTRIM', anchors, 'MINID', keep)
      end
      redis.call('HSET', state, 'version', args[o + 1], 'position', args[o + 2],
        'sequence', args[o + 3], 'model', args[o + 4], 'state', args[o + 5], 'attempts', 0)
      redis.pcall('XTRIM', features, 'MINID', keep)
    end
  end
  if num_events > 0 then
    redis.call('XTRIM', keys[2], 'MINID', '~', math.max(0, now_ms() - tonumber(args[3])))
  end
  return answers
end

-- Consuming frees memory, and a lease must not lapse for lack of it: both go on when it is full.
local function when_full(name, callback)
  redis.register_function{function_name = name, callback = callback, flags = {'allow-oom'}}
end

redis.register_function{function_name = 'streamer_2_may', callback = may, flags = {'no-writes'}}
redis.register_function('streamer_2_open_source', open_source)
redis.register_function('streamer_2_reclaim', reclaim)
redis.register_function('streamer_2_send', send)
redis.register_function('streamer_2_publish', publish)
redis.register_function('streamer_2_keep_picture', keep_picture)
when_full('streamer_2_relieve', relieve)
when_full('streamer_2_acquire', acquire)
when_full('streamer_2_release', release)
when_full('streamer_2_join', join)
when_full('streamer_2_leave', leave)
when_full('streamer_2_swap', swap)
when_full('streamer_2_attempt', attempt)
when_full('streamer_2_commit', commit)
