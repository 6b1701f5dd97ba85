-- Chooses a live device and puts the task at the end of its queue.
-- KEYS state gpus workers turn
-- ARGV ticket raw strategy template status_prefix configured state_ms channel message
local state, gpus, workers, turn = unpack(KEYS)
local ticket, raw, strategy, template, status_prefix, configured, state_ms, channel, message =
  unpack(ARGV)
local known = redis.call('HMGET', state, 'ticket', 'status', 'gpu', 'position')
if known[1] == ticket then return {'queued', known[3], known[4] or '0'} end
if known[2] and not is_terminal(known[2]) then return {'taken'} end

local devices = live_devices(gpus, workers, template, status_prefix, configured)
local device = choose(devices, strategy, turn)
if not device then return {'none'} end
forget(state)
redis.call('RPUSH', device.queue, raw)
redis.call('HSET', state, 'ticket', ticket, 'raw', raw, 'queue', device.queue, 'gpu', device.id)
publish_place(state, channel, state_ms, message, device.waiting)
return {'queued', tostring(device.id), tostring(device.waiting)}
