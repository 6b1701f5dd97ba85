import { Type } from 'typebox';
import { hostName, hours, name, password, path, range } from './values.js';

/** Settings of Redis, the queue and the workers. */

export const tasks = {
  REDIS_HOST: Type.Optional(
    Type.String({
      ...hostName,
      unset: '`localhost`',
      description:
        'the Redis to use; when nothing says where it is, `npm start` runs a private one',
    }),
  ),
  REDIS_PORT: Type.Optional(
    Type.Integer({ ...range(1, 65535), unset: '`6379`', description: 'its port' }),
  ),
  REDIS_DB: Type.Optional(
    Type.Integer({ ...range(0, 1023), unset: '`0`', description: 'its database' }),
  ),
  REDIS_PASSWORD: Type.Optional(Type.String({ ...password, description: 'its password' })),
  REDIS_SENTINELS: Type.Optional(
    Type.String({
      pattern: '^[0-9A-Za-z.:_-]+:[0-9]{1,5}(,[0-9A-Za-z.:_-]+:[0-9]{1,5})*$',
      description:
        'sentinels (`host:port`, separated by commas) that say which Redis is the master, in place of host and port ([scaling.md](scaling.md#redis))',
    }),
  ),
  REDIS_SENTINEL_NAME: Type.String({
    ...name,
    default: 'mymaster',
    description: 'what they call the master',
  }),
  REDIS_SENTINEL_PASSWORD: Type.Optional(
    Type.String({ ...password, description: 'their password' }),
  ),
  REDIS_SERVER: Type.String({
    ...path,
    default: 'redis-server',
    description: 'program of the private Redis',
  }),
  REDIS_FSYNC: Type.Enum(['always', 'everysec'], {
    default: 'everysec',
    description:
      'when the private Redis has its file on the disk: every second, or always before it answers ([tasks.md](tasks.md#what-survives))',
  }),
  TASK_QUEUE_NAME: Type.String({
    ...name,
    default: 'task_queue_gpu_{gpu_id}',
    description: "list that a device's worker takes tasks from",
  }),
  PROGRESS_CHANNEL: Type.String({
    ...name,
    default: 'task_progress',
    description: 'channel of progress and results',
  }),
  TASK_LEASE_SECONDS: Type.Number({
    ...range(1, 3600, 30),
    description: 'a worker that does not renew its lease for so long loses its task',
  }),
  TASK_MAX_ATTEMPTS: Type.Integer({
    ...range(1, 100, 3),
    description: 'times a task is tried before it is given up',
  }),
  TASK_STALL_SECONDS: Type.Number({
    ...range(0.1, 24 * 3600, 1800),
    description:
      'a worker that makes no progress with a clip for so long is ended, and the task is tried again',
  }),
  TASK_STATE_HOURS: Type.Number({
    ...hours(24),
    description: 'hours that the state of a task is kept',
  }),
  TASK_STRATEGY: Type.Enum(['least_loaded', 'round_robin'], {
    default: 'least_loaded',
    description: "how a session's task chooses its device ([tasks.md](tasks.md#which-device))",
  }),
  TASK_WORKER_WAIT_SECONDS: Type.Number({
    ...range(0, 600, 10),
    description: 'how long such a task waits for any live worker before it is refused',
  }),
  TRANSFER_TIMEOUT_SECONDS: Type.Number({
    ...range(1, 3600, 300),
    description: 'longest download or upload of a worker',
  }),
};

export const workers = {
  WORKER_DEVICES: Type.String({
    default: 'auto',
    pattern:
      '^(auto|none|sim:[1-9][0-9]?|(cpu|cuda:(0|[1-9][0-9]{0,2}))(,(cpu|cuda:(0|[1-9][0-9]{0,2})))*)$',
    description:
      'devices that get a worker each: `auto` (every GPU that the engine can use, or the CPU), a list such as `cuda:0,cuda:1` or `cpu,cpu`, `none`, or `sim:8` (eight simulated devices, see [tasks.md](tasks.md#more-machines))',
  }),
  WORKER_FIRST_ID: Type.Integer({
    ...range(0, 99_999, 0),
    description: 'added to the ids of these devices, so that those of several machines differ',
  }),
  MODEL: Type.String({
    ...path,
    default: 'small',
    description: 'a model under `weights/`, or a path',
  }),
  ENGINE_PROVIDER: Type.Enum(['auto', 'cpu', 'cuda', 'tensorrt'], {
    default: 'auto',
    description:
      'who runs the networks on a GPU: `tensorrt`, `cuda`, or `auto` (TensorRT where its libraries are installed, else CUDA; the log says which and why); `cpu` uses no GPU. See [gpus.md](gpus.md)',
  }),
  ENGINE_FALLBACK: Type.Optional(
    Type.String({
      pattern: '^(cuda|cpu|cuda,cpu)$',
      description:
        'what may be used in place of a provider or GPU that fails: `cuda` (for TensorRT), `cpu`, or `cuda,cpu`. Without it a worker that cannot use what it is told to use does not start',
    }),
  ),
  ENGINE_CACHE_DIR: Type.Optional(
    Type.String({
      ...path,
      unset: '`engines` in `DATA_DIR`',
      description:
        'where the engines are kept that TensorRT builds; `npm run engines` builds them ahead',
    }),
  ),
  ENGINE_CUDA_GRAPHS: Type.Enum(['on', 'off'], {
    default: 'on',
    description:
      'with the provider `cuda`, whether networks that run many times are recorded as CUDA graphs; `off` if a driver has trouble with them',
  }),
  ENGINE_PRECISION: Type.Enum(['exact', 'approximate'], {
    default: 'exact',
    description:
      '`approximate` renders faster on the CPU and a little differently: see [performance.md](performance.md); GPUs ignore it',
  }),
  ENGINE_THREADS: Type.Optional(
    Type.Integer({
      ...range(1, 1024),
      unset: 'one per core',
      description:
        'threads of the engine; with several workers on the CPU, divide the cores among them',
    }),
  ),
  VIDEO_ENCODER: Type.Enum(['auto', 'x264', 'nvenc'], {
    default: 'auto',
    description:
      "`auto`: NVENC on the worker's own GPU where a trial at the start shows that it works, else x264 on the CPU; `x264`; `nvenc`: a worker where it does not work refuses to start (A100, H100 and H200 have no encoder, and none takes frames below 145x145)",
  }),
  VISIBLE_MARK: Type.Enum(['off', 'en', 'zh'], {
    default: 'off',
    description:
      'a label in a corner of every video: `AI GENERATED` (`en`) or `AI生成` (`zh`). Its metadata says so in any case ([roles.md](roles.md#synthetic-media))',
  }),
  SIM_FRAME_MS: Type.Number({
    ...range(0, 60_000, 40),
    description: 'milliseconds that a simulated device takes per frame',
  }),
};
