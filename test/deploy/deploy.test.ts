import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { parse, parseAllDocuments } from 'yaml';
import { loadConfig, settingNames } from '../../src/config.js';
import { projectRoot } from '../../src/paths.js';
import { secretSettings } from '../../src/config/settings.js';

/** What a supervisor needs beyond SHUTDOWN_SECONDS until its worker is gone. */
const supervisorSeconds = 20;
/** Variables in these files that are no settings of ours. */
const foreign = /^(NODE_ENV|HOME|POD_IP|NVIDIA_\w+|ONNXRUNTIME_NODE_INSTALL)$/;

const text = (...path: string[]) => readFileSync(join(projectRoot, ...path), 'utf8');
type Settings = Record<string, string>;

/** Whether the server would start with these settings, and knows all of them. */
function accepts(t: Test, what: string, given: Settings) {
  const names = Object.keys(given).filter((name) => !foreign.test(name));
  const unknown = names.filter((name) => !(settingNames as string[]).includes(name));
  t.same(unknown, [], `${what}: every name is a setting`);
  t.doesNotThrow(() => loadConfig(given), what);
  return loadConfig(given);
}

/** Whether compiled code comes from a source that is there. */
const isOurs = (path: string) =>
  existsSync(join(projectRoot, path.replace(/^dist\/(.*)\.js$/, '$1.ts')));

interface Stage {
  readonly from: string;
  readonly lines: string[];
}

function stages(): Map<string, Stage> {
  const found = new Map<string, Stage>();
  let stage: Stage | undefined;
  const joined = text('Dockerfile')
    .replace(/^#.*\n/gm, '')
    .replace(/\\\n/g, ' ');
  for (const line of joined.split('\n')) {
    const [, from, name] = /^FROM (\S+) AS (\S+)$/.exec(line) ?? [];
    if (from !== undefined && name !== undefined) found.set(name, (stage = { from, lines: [] }));
    else stage?.lines.push(line.trim());
  }
  return found;
}

t.test(
  'the Dockerfile copies what is there, and runs what is ours, as nobody special',
  async (t) => {
    const all = stages();
    const ignored = text('.dockerignore').split('\n');
    for (const [name, { from, lines }] of all) {
      if (!from.startsWith('$')) t.ok(from === 'scratch' || all.has(from), `${name} from ${from}`);
      for (const line of lines.filter((line) => line.startsWith('COPY '))) {
        const [, stage, paths = ''] = /^COPY (?:--from=(\S+) )?(.*) \S+$/.exec(line) ?? [];
        if (stage !== undefined) t.ok(all.has(stage), line);
        else if (paths !== '.') {
          for (const path of paths.split(' ')) {
            const [top = ''] = path.split('/');
            t.ok(existsSync(join(projectRoot, path.replace(/\/\*.*$/, ''))), `${path} exists`);
            const isSent = ignored.some((rule) => [`!${path}`, `!${top}`].includes(rule));
            t.ok(isSent || path.startsWith('weights/bundled/'), `${path} is sent to the builder`);
          }
        }
      }
    }
    for (const name of ['api', 'worker', 'worker-cuda']) {
      const { lines } = all.get(name)!;
      t.ok(lines.includes('USER 10001:10001'), name);
      const [command] = lines.filter((line) => line.startsWith('CMD ['));
      const [program, path] = JSON.parse(command!.slice(4)) as string[];
      t.equal(program, 'node');
      t.ok(isOurs(path!), `${name} runs ${path}`);
      const environment = lines.filter((line) => line.startsWith('ENV ')).join(' ');
      accepts(
        t,
        name,
        Object.fromEntries([...environment.matchAll(/(\w+)=(\S+)/g)].map(([, k, v]) => [k!, v!])),
      );
    }
    t.notOk(
      ignored.some((rule) => /^!(\.env|data|\*)/.test(rule)),
      'no secrets go to the builder',
    );
  },
);

interface Service {
  readonly build?: { readonly target: string };
  readonly env_file?: string;
  readonly environment?: Settings;
  readonly stop_grace_period?: string;
  readonly volumes?: string[];
  readonly ports?: string[];
  readonly depends_on?: Record<string, unknown>;
  readonly healthcheck?: object;
}

t.test('the services of the compose file fit together', async (t) => {
  const { services, volumes } = parse(text('compose.yaml'), { merge: true }) as {
    services: Record<string, Service>;
    volumes: object;
  };
  const defaults = text('.env.example').replace(/^#(?=[A-Z])/gm, '');
  const fromFile = Object.fromEntries(
    [...defaults.matchAll(/^([A-Z0-9_]+)=(.*)$/gm)].map(([, name, value]) => [name!, value!]),
  );
  const known = stages();
  for (const [name, service] of Object.entries(services)) {
    for (const volume of service.volumes ?? []) t.ok(volume.split(':')[0]! in volumes, volume);
    for (const other of Object.keys(service.depends_on ?? {})) t.ok(other in services, other);
    for (const port of service.ports ?? []) t.match(port, /^127\.0\.0\.1:/, 'this machine alone');
    if (service.build === undefined) continue;
    t.ok(known.has(service.build.target), `${name}: the Dockerfile has its target`);
    const given = { ...service.environment };
    for (const [key, value] of Object.entries(given)) {
      given[key] = value.replace(/^\$\{\w+:-(.*)\}$/, '$1');
    }
    const config = accepts(t, name, { ...fromFile, ...given });
    t.match(config, { redis: { named: true, host: 'redis' }, baseUrl: 'http://api:3000' });
    const grace = Number.parseInt(service.stop_grace_period!, 10) * 1000;
    const more = name === 'api' ? 0 : supervisorSeconds * 1000;
    t.ok(grace > config.shutdownMs + more, `${name} has the time to end`);
  }
  t.same(new Set(Object.keys(services)).size, 6);
});

interface Container {
  readonly name: string;
  readonly image: string;
  readonly env?: { name: string; value?: string }[];
  readonly envFrom?: unknown;
  readonly securityContext: object;
  readonly ports?: { name: string; containerPort: number }[];
}
interface Manifest {
  readonly kind: string;
  readonly metadata: { readonly name: string };
  readonly data?: Settings;
  readonly stringData?: Settings;
  readonly spec?: {
    readonly selector?: { matchLabels?: Settings } & Settings;
    readonly ports?: { targetPort?: string; port: number }[];
    readonly template?: {
      readonly metadata: { readonly labels: Settings };
      readonly spec: {
        readonly terminationGracePeriodSeconds: number;
        readonly enableServiceLinks: boolean;
        readonly securityContext: object;
        readonly containers: Container[];
      };
    };
  };
}

t.test('the manifests of Kubernetes fit together', async (t) => {
  const folder = join('deploy', 'kubernetes', 'base');
  const kustomization = parse(text(folder, 'kustomization.yaml')) as { resources: string[] };
  const files = readdirSync(join(projectRoot, folder));
  t.same(
    files.filter((file) => !['kustomization.yaml', 'secret.example.yaml'].includes(file)).sort(),
    [...kustomization.resources].sort(),
    'every file is applied, but for the example of a secret',
  );
  const read = (file: string) =>
    parseAllDocuments(text(folder, file)).map((document) => document.toJS() as Manifest);
  const all = kustomization.resources.flatMap(read);
  const settings = all.find(({ kind }) => kind === 'ConfigMap')!.data!;
  const [secret] = read('secret.example.yaml');
  for (const [name, value] of Object.entries(secret!.stringData!)) {
    t.ok(secretSettings.has(name), `${name} is a secret`);
    t.equal(value, '', `${name} has no value`);
  }
  const pods = all.flatMap(({ metadata, spec }) =>
    spec?.template === undefined ? [] : [{ name: metadata.name, ...spec, ...spec.template }],
  );
  t.same(pods.map(({ name }) => name).sort(), ['api', 'redis', 'worker']);
  for (const { name, selector, metadata, spec } of pods) {
    t.match(metadata.labels, selector!.matchLabels!, `${name} selects its own pods`);
    t.match(spec.securityContext, {
      ...{ runAsNonRoot: true, seccompProfile: { type: 'RuntimeDefault' } },
    });
    t.equal(spec.enableServiceLinks, false, 'or the Service of Redis would set REDIS_PORT');
    for (const container of spec.containers) {
      t.same(container.securityContext, {
        ...{ allowPrivilegeEscalation: false, readOnlyRootFilesystem: true },
        capabilities: { drop: ['ALL'] },
      });
      if (container.envFrom === undefined) continue;
      const own = (container.env ?? []).map(({ name, value }) => [
        name,
        (value ?? (name === 'WORKER_FIRST_ID' ? '3' : '10.0.0.1')).replace('$(POD_IP)', '10.0.0.1'),
      ]);
      const config = accepts(t, name, { ...settings, ...(Object.fromEntries(own) as Settings) });
      const more = name === 'api' ? 5 : supervisorSeconds;
      const enough = config.shutdownMs / 1000 + more;
      t.ok(spec.terminationGracePeriodSeconds > enough, `${name} has the time to end`);
    }
  }
  for (const { kind, metadata, spec } of all) {
    if (kind !== 'Service') continue;
    const pod = pods.find(({ metadata: { labels } }) =>
      Object.entries(spec!.selector!).every(([key, value]) => labels[key] === value),
    );
    t.ok(pod, `${metadata.name} finds its pods`);
    const ports = pod!.spec.containers.flatMap(({ ports = [] }) => ports);
    for (const { targetPort, port } of spec!.ports ?? []) {
      t.ok(
        ports.some((one) => one.name === targetPort || one.containerPort === port),
        `${port}`,
      );
    }
  }
  for (const path of ['/livez', '/readyz']) t.match(text('src', 'app.ts'), `'${path}'`);
});

t.test('the units of systemd start what is ours with settings that hold', async (t) => {
  const folder = join('deploy', 'systemd');
  const units = readdirSync(join(projectRoot, folder));
  t.same(units.sort(), ['echomimic-api.service', 'echomimic-worker@.service']);
  for (const unit of units) {
    const lines = text(folder, unit).replaceAll('%i', 'cuda:1').split('\n');
    const of = (key: string) =>
      lines.flatMap((line) => (line.startsWith(`${key}=`) ? [line.slice(key.length + 1)] : []));
    const [start = ''] = of('ExecStart');
    t.ok(isOurs(/node (\S+)/.exec(start)![1]!), start);
    const given = [...of('Environment'), start].join(' ').matchAll(/([A-Z_]+)=(\S+)/g);
    const config = accepts(t, unit, Object.fromEntries([...given].map(([, k, v]) => [k!, v!])));
    const isWorker = unit.includes('worker');
    t.ok(
      Number(of('TimeoutStopSec')[0]) * 1000 >
        config.shutdownMs + (isWorker ? supervisorSeconds * 1000 : 0),
      'there is time to end',
    );
    if (isWorker) t.same(config.devices, [{ id: 1, device: 'cuda:1' }]);
    t.equal(`/var/lib/${of('StateDirectory')[0]}`, config.dataFolder, 'a folder it may write to');
  }
  const paths = units.map((unit) => join(projectRoot, folder, unit));
  const verified = spawnSync('systemd-analyze', ['verify', ...paths], { encoding: 'utf8' });
  if (verified.error !== undefined) return t.comment('systemd-analyze is not installed');
  // It also looks for the programs, which are those of another machine.
  const complaints = verified.stderr
    .split('\n')
    .filter((line) => line !== '' && !/not executable/.test(line));
  t.same(complaints, []);
});
