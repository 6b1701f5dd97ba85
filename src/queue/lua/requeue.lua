-- Puts what a dead entry held back into a queue, as if it were pushed anew: attempts start over.
-- KEYS dead queue state lease; ARGV entry raw
local dead, queue, state, lease = unpack(KEYS)
local entry, raw = unpack(ARGV)
local status = redis.call('HGET', state, 'status')
if redis.call('EXISTS', lease) == 1 or (status and not is_terminal(status)) then return 'underway' end
if redis.call('LREM', dead, 1, entry) == 0 then return 'gone' end
forget(state)
redis.call('RPUSH', queue, raw)
return 'requeued'
