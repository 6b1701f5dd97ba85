import t from 'tap';
import { readEntry } from '../../src/queue/schema.js';
import { audioId, imageId, taskJson } from '../helpers/redis.js';

void t.test('good tasks', async (t) => {
  t.match(readEntry(taskJson('a')), {
    taskId: 'a',
    sessionId: 'session',
    task: { task_id: 'a', ref_image_id: imageId, audio_id: audioId },
    problem: undefined,
  });
  const full = { steps: 25.0, cfg: 2.5, seed: 42, frames_num: 12, user_id: 'kept out of the way' };
  t.match(readEntry(taskJson('任务-1', full)).task, { task_id: '任务-1', steps: 25, cfg: 2.5 });
  const nulls = readEntry(taskJson('a', { steps: null, cfg: null, seed: null, frames_num: null }));
  t.equal(nulls.problem, undefined, 'null is as good as absent');
  t.notOk('steps' in (nulls.task ?? {}));
});

void t.test('bad members are named, and the task still has its id', async (t) => {
  const cases: [Record<string, unknown>, RegExp][] = [
    [{ steps: 0 }, /steps must be an integer from 1 to 200, not 0/],
    [{ steps: 2.5 }, /steps/],
    [{ steps: '6' }, /steps/],
    [{ cfg: 'NaN' }, /cfg must be a number/],
    [{ cfg: -1 }, /cfg/],
    [{ seed: -1 }, /seed/],
    [{ seed: 2 ** 63 }, /seed/],
    [{ frames_num: 0 }, /frames_num/],
    [{ frames_num: 1e12 }, /frames_num/],
    [{ ref_image_id: '../../etc/passwd' }, /ref_image_id must be the file_id/],
    [{ ref_image_id: 'http://example.com/a.png' }, /ref_image_id/],
    [{ audio_id: undefined }, /audio_id is missing/],
    [{ session_id: undefined }, /session_id is missing/],
    [{ session_id: 7 }, /session_id must be/],
    [{ steps: 0, cfg: true }, /steps .*; cfg /],
  ];
  for (const [more, reason] of cases) {
    const entry = readEntry(taskJson('a', more));
    t.equal(entry.task, undefined, JSON.stringify(more));
    t.equal(entry.taskId, 'a');
    t.match(entry.problem, { code: 'TASK_INVALID', message: reason });
  }
  t.match(readEntry(taskJson('', {})), { taskId: undefined, problem: { code: 'TASK_INVALID' } });
});

void t.test("Python's NaN and Infinity are refused by field", async (t) => {
  for (const number of ['NaN', 'Infinity', '-Infinity']) {
    const raw = taskJson('a', { cfg: 7, note: 'a "NaN" here' }).replace(
      '"cfg":7',
      `"cfg":${number}`,
    );
    t.match(readEntry(raw), {
      taskId: 'a',
      problem: {
        code: 'TASK_INVALID',
        message: 'cfg must be a number from 0 to 50, not NaN or infinity',
      },
    });
  }
});

void t.test('an entry is read in proportion to its length', async (t) => {
  // The same bytes in many short entries and in a few long ones.
  const cost = (quotes: number) => {
    const raw = `{"task_id": NaN, "${'\\"'.repeat(quotes)}`;
    const start = process.cpuUsage();
    for (let read = 0; read < 1_280_000; read += quotes) {
      if (readEntry(raw).problem?.code !== 'TASK_MALFORMED') t.fail(raw.slice(0, 40));
    }
    return process.cpuUsage(start).user;
  };
  const [short, long] = [cost(1000), cost(16_000)];
  t.comment(`${short} and ${long} us`);
  // The clock of a process ticks every 4 ms; quadratic, it would be sixteen times as dear.
  t.ok(long < 8 * Math.max(short, 10_000), 'long entries cost no more');
});

void t.test('malformed entries', async (t) => {
  const malformed = { task: undefined, problem: { code: 'TASK_MALFORMED' } };
  t.match(readEntry('{"task_id":"x1","session_id": "s", oops'), {
    ...malformed,
    taskId: 'x1',
    sessionId: 's',
  });
  for (const raw of [
    '',
    'hello',
    '[]',
    '"text"',
    'null',
    '7',
    '{"task_id":"a\\u0000"',
    '\u0000\ufffd',
  ]) {
    t.match(readEntry(raw), { ...malformed, taskId: undefined }, JSON.stringify(raw));
  }
  t.match(readEntry(taskJson('a', { pad: 'x'.repeat(70_000) })), { ...malformed, taskId: 'a' });
  const deep = '['.repeat(30_000) + ']'.repeat(30_000);
  t.match(readEntry(taskJson('a').replace('{', `{"deep":${deep},`)), {
    taskId: 'a',
    problem: undefined,
  });
});
