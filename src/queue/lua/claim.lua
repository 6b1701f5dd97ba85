-- KEYS processing lease state suspects
-- ARGV raw token worker lease_ms state_ms channel cancelled message fields...
local processing, lease, state, suspects = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local raw, token, worker, lease_ms, state_ms, channel, cancelled, message = unpack(ARGV, 1, 8)
if redis.call('LPOS', processing, raw) == false then return {'lost', 0} end

local owner = redis.call('GET', lease)
if owner == token then
  return {'claimed', tonumber(redis.call('HGET', state, 'attempts')), tries(state)}
end
-- A lease of this very worker is from work on this entry that it could not end.
local is_own = owner and string.sub(owner, 1, #worker + 1) == worker .. ':'
if owner and not is_own then
  redis.call('LREM', processing, 1, raw)
  return {'duplicate', 0}
end

local fingerprint = redis.sha1hex(raw)
local status = redis.call('HGET', state, 'status')
if is_terminal(status) then
  if status == 'completed' and redis.call('HGET', state, 'fingerprint') == fingerprint then
    redis.call('LREM', processing, 1, raw)
    redis.call('PUBLISH', channel, redis.call('HGET', state, 'last'))
    return {'done', 0}
  end
  forget(state)
elseif is_cancelled(state) then
  redis.call('LREM', processing, 1, raw)
  redis.call('DEL', lease)
  end_cancelled(state, channel, state_ms, cancelled)
  return {'cancelled', 0}
end

abandon(state)
local attempt = redis.call('HINCRBY', state, 'attempts', 1)
redis.call('SET', lease, token, 'PX', lease_ms)
redis.call('HDEL', suspects, fingerprint)
redis.call('HDEL', state, 'position')
redis.call('HSET', state, 'token', token, 'fingerprint', fingerprint)
local queued_at = attempt == 1 and redis.call('HGET', state, 'queued_at')
if queued_at then
  redis.call('HSET', state, 'seconds_waiting', string.format('%.3f', now() - queued_at))
end
publish(state, channel, state_ms, message, {unpack(ARGV, 9)})
return {'claimed', attempt, tries(state)}
