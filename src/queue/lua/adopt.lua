-- Keeps what a worker said of a task that it took without claiming it, as one of another make does.
-- KEYS state; ARGV state_ms message (without session_id)
local state, state_ms, message = KEYS[1], ARGV[1], ARGV[2]
local known = redis.call(
  'HMGET', state, 'ticket', 'status', 'token', 'raw', 'queue', 'progress', 'adopted', 'session_id'
)
local ticket, status, token, raw, queue, progress, adopted, session = unpack(known, 1, 8)
if not ticket or is_terminal(status) or (token and token ~= '') then return 0 end
-- Several servers may have heard it.
local fingerprint = redis.sha1hex(message)
if adopted == fingerprint or type(redis.pcall('LPOS', queue, raw)) == 'number' then return 0 end
local update = cjson.decode(message)
if not is_terminal(update.status) and update.progress < tonumber(progress or 0) then return 0 end
redis.call('HSET', state, 'adopted', fingerprint)
local full = extended(message, '"session_id":' .. cjson.encode(session or ''))
record(state, state_ms, full, fields_of(full))
return 1
