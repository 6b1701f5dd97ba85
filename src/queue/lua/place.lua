-- Tells where a waiting task stands, if that changed; takes it to a live device if its own is gone.
-- KEYS state gpus workers turn
-- ARGV strategy template status_prefix configured state_ms channel message
local state, gpus, workers, turn = unpack(KEYS)
local strategy, template, status_prefix, configured, state_ms, channel, message = unpack(ARGV)
local known = redis.call(
  'HMGET', state, 'ticket', 'status', 'token', 'raw', 'queue', 'gpu', 'position', 'attempts'
)
local ticket, status, token, raw, queue, gpu, told, attempts = unpack(known, 1, 8)
if not ticket or is_terminal(status) or (token and token ~= '') then return 0 end
local position = redis.pcall('LPOS', queue, raw)
if type(position) ~= 'number' then return 0 end

if redis.call('EXISTS', status_prefix .. gpu) == 0 then
  local devices = live_devices(gpus, workers, template, status_prefix, configured)
  local device = choose(devices, strategy, turn)
  if device and device.queue ~= queue then
    redis.call('LREM', queue, 1, raw)
    -- What had begun already does not wait a second time.
    redis.call(attempts and 'LPUSH' or 'RPUSH', device.queue, raw)
    redis.call('HSET', state, 'queue', device.queue, 'gpu', device.id)
    position = attempts and 0 or device.waiting
    told = false
  end
end
if status == 'queued' and told and tonumber(told) == position then return 0 end
publish_place(state, channel, state_ms, message, position)
return 1
