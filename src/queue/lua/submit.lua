-- Chooses a live device and puts the task at the end of its queue.
-- KEYS state gpus workers turn theirs
-- ARGV ticket raw strategy template status_prefix configured state_ms channel message
--      most_waiting most_theirs task_id
-- `theirs`: the tasks of whom this one is for. Limits of 0 are none.
local state, gpus, workers, turn, theirs = unpack(KEYS)
local ticket, raw, strategy, template, status_prefix, configured, state_ms, channel, message,
  most_waiting, most_theirs, task_id = unpack(ARGV)
most_waiting, most_theirs = tonumber(most_waiting), tonumber(most_theirs)

-- Forgets those that are over.
local function count_theirs()
  local prefix = string.sub(state, 1, -#task_id - 1)
  local count = 0
  for _, id in ipairs(redis.call('SMEMBERS', theirs)) do
    local status = redis.call('HGET', prefix .. id, 'status')
    if status and not is_terminal(status) then count = count + 1
    else redis.call('SREM', theirs, id) end
  end
  return count
end
local known = redis.call('HMGET', state, 'ticket', 'status', 'gpu', 'position')
if known[1] == ticket then return {'queued', known[3], known[4] or '0'} end
if known[2] and not is_terminal(known[2]) then return {'taken'} end

local devices = live_devices(gpus, workers, template, status_prefix, configured)
if #devices == 0 then return {'none'} end
if most_theirs > 0 and count_theirs() >= most_theirs then return {'many'} end
local open = {}
for _, device in ipairs(devices) do
  if most_waiting == 0 or device.waiting < most_waiting then open[#open + 1] = device end
end
local device = choose(open, strategy, turn)
if not device then return {'full'} end
if most_theirs > 0 then
  redis.call('SADD', theirs, task_id)
  redis.call('PEXPIRE', theirs, state_ms)
end
forget(state)
redis.call('RPUSH', device.queue, raw)
redis.call('HSET', state, 'ticket', ticket, 'raw', raw, 'queue', device.queue, 'gpu', device.id)
redis.call('HSET', state, 'queued_at', now())
publish_place(state, channel, state_ms, message, device.waiting)
return {'queued', tostring(device.id), tostring(device.waiting)}
