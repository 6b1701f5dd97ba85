-- Gives an entry back to the head of its queue; this attempt does not count against the task.
-- KEYS lease state processing queue; ARGV token raw state_ms channel cancelled
local lease, state, processing, queue = unpack(KEYS)
local token, raw, state_ms, channel, cancelled = unpack(ARGV)
if token == '' then
  if redis.call('EXISTS', lease) == 1 then return 0 end
elseif not holds(lease, state, processing, token, raw) then
  return 0
end
local is_unwanted = is_cancelled(state)
if redis.call('LREM', processing, 1, raw) == 0 then return 0 end
if is_unwanted then
  redis.call('DEL', lease)
  end_cancelled(state, channel, state_ms, cancelled)
  return -1
end
redis.call('LPUSH', queue, raw)
if token ~= '' then
  redis.call('DEL', lease)
  redis.call('HINCRBY', state, 'handed_back', 1)
  abandon(state)
end
return 1
