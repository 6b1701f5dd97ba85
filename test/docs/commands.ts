/** Commands that tests of their own run, and what shows that they do. */
export const elsewhere: Record<string, { file: string; shows: RegExp }> = {
  start: { file: 'test/scripts/start.test.ts', shows: /start\('start'/ },
  doctor: { file: 'test/scripts/doctor.test.ts', shows: /'doctor\.mjs'/ },
  demo: { file: 'test/scripts/start.test.ts', shows: /start\('demo'/ },
  workers: { file: 'test/scripts/workers.test.ts', shows: /'workers\.js'/ },
  engines: { file: 'test/scripts/engines.test.ts', shows: /'engines\.js'/ },
  'weights import': { file: 'test/weights/cli.test.ts', shows: /weights\('import'/ },
  bench: { file: 'test/bench/command.test.ts', shows: /'--runs', '1'/ },
  'bench api': { file: 'test/bench/api.test.ts', shows: /bench\(\['api'/ },
  'bench compare': { file: 'test/bench/command.test.ts', shows: /bench\('compare'/ },
  'bench soak': { file: 'test/bench/soak.test.ts', shows: /soak\(/ },
  'build:addon': { file: 'test/native/cuda.test.ts', shows: /'build-addon\.mjs'/ },
};

/** Blocks that these tests cannot run: programs of another machine, or what is not in the project. */
export const notHere: [pattern: RegExp, why: string][] = [
  [
    /^(sudo|systemctl|docker|kubectl|apt-get|nvidia-smi)\b/m,
    'changes the machine, or is not on it',
  ],
  [/npm run (test:gpu|providers)\b/, 'a machine with GPUs'],
  [/^ldd .*providers/m, 'a machine with GPUs'],
  [/venv\/bin\/python/, 'training the bundled weights takes days'],
  [/bench -- rival/, 'needs the official pipeline'],
];

/** What stands for the reader's own names and files, and for measurements that take long. */
export const replaced: Record<string, [what: string, value: string][]> = {
  'docs/clients.md': [['127.0.0.1:3000 node', '$ADDRESS node']],
  'docs/performance.md': [
    ['bench -- first-audio', 'bench -- first-audio --turns 2 --warm-up 1'],
    ['bench -- idle-sessions', 'bench -- idle-sessions --counts 10,20'],
    ['bench -- load', 'bench -- load --idle 10 --active 2 --updates 2'],
  ],
};
