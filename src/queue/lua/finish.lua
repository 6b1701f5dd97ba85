-- The one way out of a claimed task, once per token. A cancelled one ends as that or not at all: -1.
-- KEYS lease state processing dead; ARGV token raw state_ms channel message dead_entry fields...
local lease, state, processing = KEYS[1], KEYS[2], KEYS[3]
local token, raw = ARGV[1], ARGV[2]
if redis.call('HGET', state, 'finished_by') == token then return 1 end
if not holds(lease, state, processing, token, raw) then return 0 end
if is_cancelled(state) and cjson.decode(ARGV[5]).code ~= 'TASK_CANCELLED' then return -1 end
redis.call('LREM', processing, 1, raw)
redis.call('DEL', lease)
redis.call('HSET', state, 'finished_by', token)
if cjson.decode(ARGV[5]).status ~= 'completed' then abandon(state) end
publish(state, ARGV[4], ARGV[3], ARGV[5], {unpack(ARGV, 7)})
if ARGV[6] ~= '' then bury(KEYS[4], ARGV[6], tries(state)) end
return 1
