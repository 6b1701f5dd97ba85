-- Answers -1, and tells nobody, when the task is ours, but cancelled.
-- KEYS lease state processing; ARGV token raw state_ms channel message fields...
if not holds(KEYS[1], KEYS[2], KEYS[3], ARGV[1], ARGV[2]) then return 0 end
if is_cancelled(KEYS[2]) then return -1 end
publish(KEYS[2], ARGV[4], ARGV[3], ARGV[5], {unpack(ARGV, 6)})
return 1
