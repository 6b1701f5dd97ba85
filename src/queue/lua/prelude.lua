-- Shared by every verb. A task's state hash is written in the same script as the publish, so that
-- a reader who missed messages finds in the hash what the last one said.

-- A Redis that takes no writes (full, read-only) says so at the first one, and this one changes
-- nothing: without it, one that is full would let a script take an entry away and then stop it.
redis.call('SETRANGE', 'task_probe', 0, '')

local function is_terminal(status)
  return status == 'completed' or status == 'failed'
end

-- Whether `token` still owns the entry. A lease that ran out counts as long as nobody recovered it.
local function holds(lease, state, processing, token, raw)
  local owner = redis.call('GET', lease)
  if owner then return owner == token end
  return redis.call('HGET', state, 'token') == token and redis.call('LPOS', processing, raw) ~= false
end

-- The attempt of now ends without a video: what its worker stores all the same is to be deleted.
local function abandon(state)
  local token = redis.call('HGET', state, 'token')
  if not token then return end
  local video = string.match(token, '[^:]+$')
  if video then redis.call('ZADD', 'task_orphans', redis.call('TIME')[1], video) end
  redis.call('HSET', state, 'token', '')
end

-- `message` is a JSON object; it gets the number of the attempt and a growing `seq`.
local function record(state, state_ms, message, fields)
  local seq = redis.call('HINCRBY', state, 'seq', 1)
  local attempt = redis.call('HGET', state, 'attempts') or '0'
  local full = string.sub(message, 1, -2) .. ',"attempt":' .. attempt .. ',"seq":' .. seq .. '}'
  redis.call('HSET', state, 'last', full, unpack(fields))
  redis.call('PEXPIRE', state, state_ms)
  return full
end

local function publish(state, channel, state_ms, message, fields)
  redis.call('PUBLISH', channel, record(state, state_ms, message, fields))
end

-- `message`, a JSON object, with more members: a string like '"a":1,"b":2'.
local function extended(message, members)
  return string.sub(message, 1, -2) .. ',' .. members .. '}'
end

-- How often a task was tried; a hand-back does not count.
local function tries(state)
  local known = redis.call('HMGET', state, 'attempts', 'handed_back')
  return tonumber(known[1] or 0) - tonumber(known[2] or 0)
end

local function bury(dead, entry, attempts)
  redis.call('LPUSH', dead, extended(entry, '"attempts":' .. attempts))
  redis.call('LTRIM', dead, 0, 9999)
end

local function fields_of(message)
  local fields = {}
  for name, value in pairs(cjson.decode(message)) do
    fields[#fields + 1] = name == 'timestamp' and 'updated_at' or name
    fields[#fields + 1] = tostring(value)
  end
  return fields
end

-- A new run under an id that ended before: only the numbers of its messages go on.
local function forget(state)
  local seq = redis.call('HGET', state, 'seq')
  redis.call('DEL', state)
  if seq then redis.call('HSET', state, 'seq', seq) end
end

-- The cancelled task's one last message. `message` lacks whose it is and how far it came.
local function end_cancelled(state, channel, state_ms, message, session)
  local known = redis.call('HMGET', state, 'session_id', 'progress')
  local progress = tostring(tonumber(known[2] or 0) or 0)
  local whose = cjson.encode(known[1] or session or '')
  local full = extended(
    message,
    '"session_id":' .. whose .. ',"progress":' .. progress .. ',"percentage":' .. progress
  )
  abandon(state)
  publish(state, channel, state_ms, full, fields_of(full))
end

local function is_cancelled(state)
  local known = redis.call('HMGET', state, 'cancelled', 'status')
  return known[1] == '1' and not is_terminal(known[2])
end
