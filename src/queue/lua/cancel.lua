-- Ends a task that waits; marks one that runs and tells its worker.
-- KEYS state lease gpus workers
-- ARGV task_id template configured state_ms channel control message
local state, lease, gpus, workers = unpack(KEYS)
local task_id, template, configured, state_ms, channel, control, message = unpack(ARGV)

-- The entry as a table if it is of this task. Decoded only where the id may stand in it.
local function of_task(raw)
  if not (string.find(raw, task_id, 1, true) or string.find(raw, '\\', 1, true)) then return nil end
  local readable, entry = pcall(cjson.decode, raw)
  if readable then return type(entry) == 'table' and entry.task_id == task_id and entry or nil end
  local named = string.match(raw, '"task_id"%s*:%s*"([^"\\]+)"') == task_id
  return named and { session_id = string.match(raw, '"session_id"%s*:%s*"([^"\\]+)"') } or nil
end

local function entries(list)
  local all = redis.pcall('LRANGE', list, 0, -1)
  return all.err and {} or all
end

local known = redis.call('HMGET', state, 'status', 'token', 'queue')
local status, token = known[1], redis.call('GET', lease) or known[2]
if not token or is_terminal(status) and redis.call('EXISTS', lease) == 0 then token = '' end

local queues, seen = {}, {}
local function add(queue)
  if queue and not seen[queue] then
    seen[queue] = true
    queues[#queues + 1] = queue
  end
end
add(known[3])
for _, id in ipairs(device_ids(gpus, configured)) do add(queue_of(template, id)) end
local lists = redis.call('ZRANGE', workers, 0, -1)
for _, processing in ipairs(lists) do add(string.match(processing, '^(.*):processing:')) end

local withdrawn, is_running = nil, false
for _, queue in ipairs(queues) do
  for _, raw in ipairs(entries(queue)) do
    local entry = of_task(raw)
    if entry then
      redis.call('LREM', queue, 1, raw)
      withdrawn = entry
    end
  end
end
for _, processing in ipairs(lists) do
  local worker = string.match(processing, '^.*:processing:(.*)$') or ''
  for _, raw in ipairs(entries(processing)) do
    local entry = of_task(raw)
    if entry and string.sub(token, 1, #worker + 1) == worker .. ':' then
      is_running = true
    elseif entry then
      -- Taken but not claimed: its worker will find it gone.
      redis.call('LREM', processing, 1, raw)
      withdrawn = entry
    end
  end
end

if is_running or (redis.call('EXISTS', lease) == 1 and token ~= '') then
  redis.call('HSET', state, 'cancelled', '1')
  redis.call('PEXPIRE', state, state_ms)
  redis.call('PUBLISH', control, cjson.encode({ stop = task_id, token = token }))
  return 'stopping'
end
if not withdrawn then
  if not status then return 'unknown' end
  if is_terminal(status) then return 'ended' end
  -- It is in no list: whoever took it will not bring it back.
  withdrawn = {}
end
if is_terminal(status) then forget(state) end
local session = type(withdrawn.session_id) == 'string' and withdrawn.session_id or ''
end_cancelled(state, channel, state_ms, message, session)
return 'withdrawn'
