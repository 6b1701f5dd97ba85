import { execFile } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { mkdir, readFile, readdir, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { childEnvironment, loadConfig } from '../../src/config.js';
import { projectRoot } from '../../src/paths.js';
import { type DeadTask, deadTasks } from '../../src/queue/dead.js';
import { temporaryFolder } from '../helpers/folder.js';
import { until } from '../helpers/redis.js';
import { Service, ownSettings } from '../helpers/stack.js';
import { elsewhere, notHere, replaced } from './commands.js';
import { type Page, pages } from './markdown.js';

const documents = pages().filter(({ blocks }) => blocks.length > 0);

t.test('settings in the documentation are accepted', async (t) => {
  for (const { file, blocks } of documents) {
    for (const { text, line } of blocks.filter(({ language }) => language === 'env')) {
      const settings: Record<string, string> = {};
      for (const one of text.split(/\n| (?=[A-Z][A-Z0-9_]*=)/)) {
        const match = /^([A-Z][A-Z0-9_]*)=('?)(.*?)\2 *(?:#.*)?$/.exec(one);
        if (match === null) {
          if (!/^\s*(#.*)?$/.test(one)) t.fail(`${file}:${line}: ${one} is no setting`);
          continue;
        }
        settings[match[1]!] = match[3]!.replaceAll('…', 'x'.repeat(40));
      }
      t.doesNotThrow(() => loadConfig({ ...companions(settings), ...settings }), `${file}:${line}`);
    }
  }
});

/** Settings without which others are refused, where a text names those alone. */
function companions(settings: Record<string, string>): Record<string, string> {
  const more: Record<string, string> = {};
  if ('ASR_MODEL' in settings) more['ASR'] = 'openai';
  if ('TTS_COMMAND' in settings) more['TTS'] = 'command';
  return more;
}

t.test('commands that are not run here have tests of their own', async (t) => {
  for (const [name, test] of Object.entries(elsewhere)) {
    const path = join(projectRoot, test.file);
    t.ok(existsSync(path), `${name}: ${test.file}`);
    t.ok(test.shows.test(readFileSync(path, 'utf8')), `${name} is run by ${test.file}`);
  }
});

t.test('commands in the documentation work', async (t) => {
  const settings = { ...(await ownSettings(t)), WORKER_DEVICES: 'sim:1', SIM_FRAME_MS: '1' };
  const service = await Service.start(t, settings);
  await service.stack.workersReady;
  const record = join(await temporaryFolder(t), 'record');
  await writeFile(record, '');
  // The page on tasks shows, requeues and drops some that failed for good.
  for (let count = 0; count < 3; count++) await service.push(`no task ${count}`);
  const { config } = service.stack;
  let dead: DeadTask[] = [];
  await until(
    async () => (dead = await deadTasks(service.client, config)).length === 3,
    'dead tasks',
  );

  let ran = 0;
  for (const page of documents) {
    const script = scriptOf(page, dead);
    if (script === '') continue;
    ran++;
    const { code, output } = await run(t, script, {
      ...childEnvironment(settings),
      ADDRESS: service.url.replace('http://', ''),
      REDIS_PORT_NOW: String(service.stack.config.redis.port),
      NODE: process.execPath,
      NPM: join(projectRoot, 'dist', 'test', 'docs', 'fixtures', 'npm.js'),
      DOCS_ELSEWHERE: Object.keys(elsewhere).join(','),
      DOCS_RECORD: record,
    });
    t.equal(code, 0, page.file);
    if (code !== 0) t.comment(output.slice(-3000));
  }
  t.ok(ran >= 5, `the commands of ${ran} pages ran`);
  t.match(await service.end('t1'), { status: 'completed' }, 'the task of docs/tasks.md');
  t.comment(await readFile(record, 'utf8'));
});

/** What stands in the place of programs: the service's address instead of the default one. */
const preamble = `
set -euo pipefail
curl() {
  local given=() one
  for one in "$@"; do one=\${one//localhost:3000/$ADDRESS}; given+=("\${one//127.0.0.1:3000/$ADDRESS}"); done
  command curl --fail-with-body --max-time 60 "\${given[@]}"
}
npm() { "$NODE" "$NPM" "$@"; }
redis-cli() {
  local given=("\${@//PORT/$REDIS_PORT_NOW}")
  # a subscription never ends by itself
  case "$*" in *SUBSCRIBE*) given=(-p $REDIS_PORT_NOW PING) ;; esac
  command redis-cli "\${given[@]}"
}
`;

function scriptOf({ file, blocks }: Page, dead: DeadTask[]): string {
  let used = 0;
  const parts: string[] = [];
  for (const { language, text, line } of blocks) {
    if (language !== 'sh' || notHere.some(([pattern]) => pattern.test(text))) continue;
    let written = text;
    for (const [what, value] of replaced[file] ?? []) written = written.replaceAll(what, value);
    written = written.replace(/(dead \w+) ID/g, (_, verb) => `${verb} ${dead[used++]!.id}`);
    parts.push(`echo "## ${file}:${line}"`, written);
  }
  return parts.length === 0 ? '' : [preamble, ...parts].join('\n');
}

/** Runs a script in a folder of its own that looks like the project's. */
async function run(t: Test, script: string, env: NodeJS.ProcessEnv) {
  const folder = join(await temporaryFolder(t), 'project');
  await mkdir(folder);
  for (const name of await readdir(projectRoot)) {
    if (name !== 'out') await symlink(join(projectRoot, name), join(folder, name));
  }
  return new Promise<{ code: number; output: string }>((resolve) =>
    execFile(
      'bash',
      ['-c', script],
      { cwd: folder, env, timeout: 120_000 },
      (error, out, complaint) =>
        resolve({ code: error === null ? 0 : Number(error.code ?? 1), output: out + complaint }),
    ),
  );
}
