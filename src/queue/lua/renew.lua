-- Answers -1 when the task is ours, but cancelled.
-- KEYS lease state processing; ARGV token raw lease_ms
if not holds(KEYS[1], KEYS[2], KEYS[3], ARGV[1], ARGV[2]) then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[3])
return is_cancelled(KEYS[2]) and -1 or 1
