-- For an entry that names no task: it is buried and one message says so.
-- KEYS processing dead; ARGV raw channel message dead_entry
if redis.call('LREM', KEYS[1], 1, ARGV[1]) == 0 then return 0 end
bury(KEYS[2], ARGV[4], 0)
redis.call('PUBLISH', ARGV[2], ARGV[3])
local known = cjson.decode(ARGV[3])
known.at = known.timestamp
known.queue, known.worker = string.match(KEYS[1], '^(.*):processing:(.*)$')
count_end(known)
return 1
