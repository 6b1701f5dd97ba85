-- For an entry that names no task: it is buried and one message says so.
-- KEYS processing dead; ARGV raw channel message dead_entry
if redis.call('LREM', KEYS[1], 1, ARGV[1]) == 0 then return 0 end
bury(KEYS[2], ARGV[4], 0)
redis.call('PUBLISH', ARGV[2], ARGV[3])
return 1
