-- Devices and their queues, for the verbs that schedule and cancel.

-- Ids that may be in use: those that registered, those that were configured, and the first 64,
-- which a worker of any make may serve that sets no more than its status key.
local function device_ids(gpus, configured)
  local seen, ids = {}, {}
  local function add(id)
    if not seen[id] then
      seen[id] = true
      ids[#ids + 1] = id
    end
  end
  for id = 0, 63 do add(id) end
  for id in string.gmatch(configured, '%d+') do add(tonumber(id)) end
  for _, id in ipairs(redis.call('ZRANGE', gpus, -1000, -1)) do
    if string.match(id, '^%d%d?%d?%d?%d?%d?$') then add(tonumber(id)) end
  end
  table.sort(ids)
  return ids
end

local function queue_of(template, id)
  return (string.gsub(template, '{gpu_id}', tostring(id)))
end

-- Nil for a key that is no list: somebody else's data must not stop the service.
local function length(list)
  local count = redis.pcall('LLEN', list)
  return type(count) == 'number' and count or nil
end

-- {id, queue, load, waiting} of every device whose status key exists, by id.
local function live_devices(gpus, workers, template, status_prefix, configured)
  local ids = device_ids(gpus, configured)
  local names = {}
  for i, id in ipairs(ids) do names[i] = status_prefix .. id end
  local statuses = redis.call('MGET', unpack(names))
  local running = {}
  for _, processing in ipairs(redis.call('ZRANGE', workers, 0, -1)) do
    local queue = string.match(processing, '^(.*):processing:')
    if queue then running[queue] = (running[queue] or 0) + (length(processing) or 0) end
  end
  local devices = {}
  for i, id in ipairs(ids) do
    local queue = queue_of(template, id)
    local waiting = (statuses[i] == 'idle' or statuses[i] == 'busy') and length(queue)
    if waiting then
      -- A worker of another make shows what it does by its status alone.
      local held = running[queue] or (statuses[i] == 'busy' and 1 or 0)
      devices[#devices + 1] = { id = id, queue = queue, load = waiting + held, waiting = waiting }
    end
  end
  return devices
end

-- In turn after the device that was chosen last; `least_loaded` takes turns among equals only.
local function choose(devices, strategy, turn)
  local last = tonumber(redis.call('GET', turn) or -1) or -1
  local first = 1
  for i, device in ipairs(devices) do
    if device.id > last then
      first = i
      break
    end
  end
  local best
  for i = 0, #devices - 1 do
    local device = devices[(first - 1 + i) % #devices + 1]
    if not best or (strategy == 'least_loaded' and device.load < best.load) then best = device end
  end
  if best then redis.call('SET', turn, best.id) end
  return best
end

-- Tells the place in the queue; `message` lacks the numbers and the text.
local function publish_place(state, channel, state_ms, message, position)
  local progress = tostring(tonumber(redis.call('HGET', state, 'progress') or 0) or 0)
  local text = 'the task runs next'
  if position == 1 then text = 'one task is before it' end
  if position > 1 then text = position .. ' tasks are before it' end
  local full = extended(
    message,
    '"progress":' .. progress .. ',"percentage":' .. progress .. ',"message":"' .. text
      .. '","position":' .. position
  )
  publish(state, channel, state_ms, full, fields_of(full))
end
