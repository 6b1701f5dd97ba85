-- Shared by every verb. A task's state hash is written in the same script as the publish, so that
-- a reader who missed messages finds in the hash what the last one said.

local function is_terminal(status)
  return status == 'completed' or status == 'failed'
end

-- Whether `token` still owns the entry. A lease that ran out counts as long as nobody recovered it.
local function holds(lease, state, processing, token, raw)
  local owner = redis.call('GET', lease)
  if owner then return owner == token end
  return redis.call('HGET', state, 'token') == token and redis.call('LPOS', processing, raw) ~= false
end

-- `message` is a JSON object; it is sent with the number of the attempt and a growing `seq`.
local function publish(state, channel, state_ms, message, fields)
  local seq = redis.call('HINCRBY', state, 'seq', 1)
  local attempt = redis.call('HGET', state, 'attempts') or '0'
  local full = string.sub(message, 1, -2) .. ',"attempt":' .. attempt .. ',"seq":' .. seq .. '}'
  redis.call('HSET', state, 'last', full, unpack(fields))
  redis.call('PEXPIRE', state, state_ms)
  redis.call('PUBLISH', channel, full)
end

local function bury(dead, entry)
  redis.call('LPUSH', dead, entry)
  redis.call('LTRIM', dead, 0, 9999)
end
