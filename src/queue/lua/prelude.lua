-- Shared by every verb. A task's state hash is written in the same script as the publish, so that
-- a reader who missed messages finds in the hash what the last one said.

-- A Redis that takes no writes (full, read-only) says so at the first one, and this one changes
-- nothing: without it, one that is full would let a script take an entry away and then stop it.
redis.call('SETRANGE', 'task_probe', 0, '')

local function is_terminal(status)
  return status == 'completed' or status == 'failed'
end

-- Whether `token` still owns the entry. A lease that ran out counts as long as nobody recovered it.
local function holds(lease, state, processing, token, raw)
  local owner = redis.call('GET', lease)
  if owner then return owner == token end
  return redis.call('HGET', state, 'token') == token and redis.call('LPOS', processing, raw) ~= false
end

-- The attempt of now ends without a video: what its worker stores all the same is to be deleted.
local function abandon(state)
  local token = redis.call('HGET', state, 'token')
  if not token then return end
  local video = string.match(token, '[^:]+$')
  if video then redis.call('ZADD', 'task_orphans', redis.call('TIME')[1], video) end
  redis.call('HSET', state, 'token', '')
end

-- Seconds since 1970, to the millisecond.
local function now()
  local time = redis.call('TIME')
  return string.format('%.3f', time[1] + time[2] / 1000000)
end

-- Counters that only grow, for as long as this Redis lives. Somebody else's key of that name must
-- not keep a task from its end, here and below: hence pcall.
local function tally(name, by) redis.pcall('HINCRBYFLOAT', 'task_totals', name, by) end

local stages = { 'waiting', 'downloading', 'face_detecting', 'inference', 'merging_audio', 'upload' }
local bounds = { 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600 }
-- How long minutes and failures are kept.
local kept_seconds = 48 * 3600

-- Counts the end of a task. `known`: status, code, error, at, task_id, session_id, attempts, queue,
-- worker, video_seconds, frames and the seconds of its stages, as far as they are known.
local function count_end(known)
  local is_cancelled = known.code == 'TASK_CANCELLED'
  local outcome = is_cancelled and 'cancelled' or known.status
  tally('ended:' .. outcome, 1)
  local seconds = {}
  for i, stage in ipairs(stages) do
    local spent = tonumber(known['seconds_' .. stage])
    if spent then
      seconds[stage] = spent
      local bucket = 1
      while bounds[bucket] and spent > bounds[bucket] do bucket = bucket + 1 end
      tally('stage:' .. stage .. ':' .. bucket, 1)
      tally('stage:' .. stage .. ':sum', spent)
    end
  end
  local minute = 'task_minute:' .. math.floor(redis.call('TIME')[1] / 60)
  redis.pcall('HINCRBY', minute, outcome, 1)
  local video = outcome == 'completed' and tonumber(known.video_seconds)
  if video then
    tally('frames', tonumber(known.frames) or 0)
    tally('video_seconds', video)
    tally('render_seconds', seconds.inference or 0)
    redis.pcall('HINCRBYFLOAT', minute, 'video_seconds', video)
    redis.pcall('HINCRBYFLOAT', minute, 'render_seconds', seconds.inference or 0)
  end
  redis.pcall('EXPIRE', minute, kept_seconds)
  if outcome ~= 'failed' then return end
  local code = string.match(known.code or '', '^[A-Z_]+$') or 'INTERNAL'
  -- Workers of another make may say anything.
  local names = redis.pcall('HLEN', 'task_totals')
  if #code <= 40 and type(names) == 'number' and names < 1000 then tally('code:' .. code, 1) end
  local failure = cjson.encode({
    task_id = known.task_id or '', session_id = known.session_id or '', code = code,
    error = string.sub(known.error or '', 1, 1000), at = known.at or '',
    attempt = tonumber(known.attempts) or 0,
    queue = known.queue or nil, worker = known.worker or nil,
  })
  redis.pcall('LPUSH', 'task_failures', failure)
  redis.pcall('LTRIM', 'task_failures', 0, 499)
  redis.pcall('EXPIRE', 'task_failures', kept_seconds)
end

local end_fields = {
  'status', 'code', 'error', 'updated_at', 'task_id', 'session_id', 'attempts', 'queue', 'worker',
  'video_seconds', 'frames',
}
for _, stage in ipairs(stages) do end_fields[#end_fields + 1] = 'seconds_' .. stage end

local function count_end_of(state)
  local known = {}
  for i, value in ipairs(redis.call('HMGET', state, unpack(end_fields))) do
    known[end_fields[i]] = value
  end
  known.at = known.updated_at
  count_end(known)
end

-- Whether the fields of an update say that the task is over.
local function is_end(fields)
  for i = 1, #fields, 2 do
    if fields[i] == 'status' then return is_terminal(fields[i + 1]) end
  end
  return false
end

-- `message` is a JSON object; it gets the number of the attempt and a growing `seq`. Whatever ends
-- a task comes through here with its last message, once, and is counted.
local function record(state, state_ms, message, fields)
  local ends = is_end(fields) and not is_terminal(redis.call('HGET', state, 'status'))
  local seq = redis.call('HINCRBY', state, 'seq', 1)
  local attempt = redis.call('HGET', state, 'attempts') or '0'
  local full = string.sub(message, 1, -2) .. ',"attempt":' .. attempt .. ',"seq":' .. seq .. '}'
  redis.call('HSET', state, 'last', full, unpack(fields))
  redis.call('PEXPIRE', state, state_ms)
  if ends then count_end_of(state) end
  return full
end

local function publish(state, channel, state_ms, message, fields)
  redis.call('PUBLISH', channel, record(state, state_ms, message, fields))
end

-- `message`, a JSON object, with more members: a string like '"a":1,"b":2'.
local function extended(message, members)
  return string.sub(message, 1, -2) .. ',' .. members .. '}'
end

-- How often a task was tried; a hand-back does not count.
local function tries(state)
  local known = redis.call('HMGET', state, 'attempts', 'handed_back')
  return tonumber(known[1] or 0) - tonumber(known[2] or 0)
end

local function bury(dead, entry, attempts)
  redis.call('LPUSH', dead, extended(entry, '"attempts":' .. attempts))
  redis.call('LTRIM', dead, 0, 9999)
  tally('buried', 1)
end

local function fields_of(message)
  local fields = {}
  for name, value in pairs(cjson.decode(message)) do
    fields[#fields + 1] = name == 'timestamp' and 'updated_at' or name
    fields[#fields + 1] = tostring(value)
  end
  return fields
end

-- A new run under an id that ended before: only the numbers of its messages go on.
local function forget(state)
  local seq = redis.call('HGET', state, 'seq')
  redis.call('DEL', state)
  if seq then redis.call('HSET', state, 'seq', seq) end
end

-- The cancelled task's one last message. `message` lacks whose it is and how far it came.
local function end_cancelled(state, channel, state_ms, message, session)
  local known = redis.call('HMGET', state, 'session_id', 'progress')
  local progress = tostring(tonumber(known[2] or 0) or 0)
  local whose = cjson.encode(known[1] or session or '')
  local full = extended(
    message,
    '"session_id":' .. whose .. ',"progress":' .. progress .. ',"percentage":' .. progress
  )
  abandon(state)
  publish(state, channel, state_ms, full, fields_of(full))
end

local function is_cancelled(state)
  local known = redis.call('HMGET', state, 'cancelled', 'status')
  return known[1] == '1' and not is_terminal(known[2])
end
