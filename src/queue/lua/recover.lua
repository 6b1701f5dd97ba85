-- An entry without a live lease: marked on the first pass, moved on the second, unless its worker
-- is known to be dead (`dead_worker`): then at once, and its lease means nothing.
-- KEYS processing queue lease state suspects dead
-- ARGV raw grace_ms dead_worker max_attempts state_ms channel cancelled message dead_entry fields...
local processing, queue, lease, state, suspects, dead = unpack(KEYS)
local raw, grace_ms, dead_worker, max_attempts, state_ms, channel, cancelled, message, dead_entry =
  unpack(ARGV, 1, 9)
local fingerprint = redis.sha1hex(raw)

local owner = redis.call('GET', lease)
local owner_is_dead = dead_worker ~= '' and owner and string.sub(owner, 1, #dead_worker) == dead_worker
if owner and not owner_is_dead then
  redis.call('HDEL', suspects, fingerprint)
  return 'alive'
end
if dead_worker == '' then
  local time = redis.call('TIME')
  local now = time[1] * 1000 + math.floor(time[2] / 1000)
  local marked = redis.call('HGET', suspects, fingerprint)
  if not marked then
    redis.call('HSET', suspects, fingerprint, string.format('%.0f', now))
    redis.call('PEXPIRE', suspects, grace_ms * 100)
    return 'marked'
  end
  if now - marked < tonumber(grace_ms) then return 'waiting' end
end

local status = redis.pcall('HGET', state, 'status')
redis.call('HDEL', suspects, fingerprint)
if redis.call('LREM', processing, 1, raw) == 0 then return 'gone' end
redis.call('DEL', lease)
if type(status) == 'table' then
  -- Somebody else's key has that name: whoever claims the task says so.
  redis.call('LPUSH', queue, raw)
  return 'requeued'
end
if is_cancelled(state) then
  end_cancelled(state, channel, state_ms, cancelled)
  return 'cancelled'
end
local is_over = is_terminal(status)
if tries(state) >= tonumber(max_attempts) and not is_over then
  abandon(state)
  publish(state, channel, state_ms, message, {unpack(ARGV, 10)})
  bury(dead, dead_entry, tries(state))
  return 'failed'
end
redis.call('LPUSH', queue, raw)
if not is_over then abandon(state) end
tally('recovered', 1)
return 'requeued'
