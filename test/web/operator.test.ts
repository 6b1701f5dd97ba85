import t from 'tap';
import { CodedError } from '../../src/errors.js';
import { findings } from '../helpers/accessibility.js';
import { TestBrowser, picture as screenshot } from '../helpers/browser.js';
import { startRedis, taskJson, until } from '../helpers/redis.js';
import { device, openWorker, takeAndClaim } from '../helpers/tasks.js';
import { startSessions } from '../session/session-helper.js';

const browser = await TestBrowser.start(t);
const token = 'of-the-operator-alone';

t.test('an operator sees what happens, and acts', async (t) => {
  const redis = await startRedis(t);
  const server = await startSessions(t, { OPERATOR_TOKEN: token }, {}, redis);
  const worker = await openWorker(t, redis, 0, {}, device);
  await redis.client.rpush('task_queue_gpu_0', taskJson('poison'), taskJson('running'));
  const poison = await takeAndClaim(worker);
  await worker.fail(poison, 10, new CodedError('TASK_STALLED', 'it made no progress'), {
    breaksWorkers: true,
  });
  const running = await takeAndClaim(worker);
  await worker.setStatus('busy');
  await redis.client.rpush('task_queue_gpu_0', taskJson('waiting'));

  const expected = (complaint: string) => /401|ERR_|503/.test(complaint);
  const { page } = await browser.open(t, `${server.url}/operator`, { expected });
  await page.getByLabel('Operator’s token').fill('a-guess-at-random');
  await page.getByRole('button', { name: 'Enter' }).click();
  await page.getByText('This token is wrong.').waitFor();
  t.same(await findings(page), [], 'the way in');
  await page.getByLabel('Operator’s token').fill(token);
  await page.getByRole('button', { name: 'Enter' }).click();

  const devices = page.getByRole('region', { name: 'Devices and queues' });
  await devices.getByText('busy').waitFor();
  t.match(await devices.getByRole('progressbar', { name: 'running' }).count(), 1);
  await page.getByRole('img', { name: /0 tasks were completed, 1 failed/ }).waitFor();
  const dead = page.getByRole('region', { name: 'Dead tasks' });
  await dead.getByText('it made no progress').waitFor();
  t.same(await findings(page), [], 'what happens');
  await screenshot(page, 'operator');

  const dialog = page.getByRole('dialog');
  await devices.getByText('1 task waits').click();
  await devices.getByRole('button', { name: 'Cancel: waiting' }).click();
  await dialog.getByRole('button', { name: 'Cancel the task' }).click();
  await page.getByText('waiting is cancelled.').waitFor();
  await devices.getByText('Nothing waits.').waitFor();
  await page.getByRole('img', { name: /1 failed and 1 were cancelled/ }).waitFor();

  await dead.getByRole('button', { name: 'Queue again: poison' }).click();
  await page.getByText('poison waits in its queue again.').waitFor();
  await dead.getByText('There are none.').waitFor();
  t.equal(await redis.client.lindex('task_queue_gpu_0', 0), taskJson('poison'), 'as it was pushed');
  await worker.complete(running, '550e8400-e29b-41d4-a716-446655440000');
  const again = await takeAndClaim(worker);
  t.equal(again.taskId, 'poison');
  await worker.fail(again, 10, new CodedError('TASK_STALLED', 'nor this time'), {
    breaksWorkers: true,
  });
  await dead.getByText('nor this time').waitFor();
  await dead.getByRole('button', { name: 'Drop: poison' }).click();
  await dialog.getByRole('button', { name: 'Drop' }).click();
  await dead.getByText('There are none.').waitFor();
  t.equal(await redis.client.llen('task_queue_gpu_0:dead'), 0);

  await page.getByText('As a table').click();
  const total = async () => {
    const cells = await page.getByRole('row').last().getByRole('cell').allTextContents();
    return cells.map(Number).reduce((sum, one) => sum + one, 0);
  };
  await until(async () => (await total()) > 0, 'the numbers');
  await page.setViewportSize({ width: 360, height: 740 });
  // The menu becomes that of a phone in a moment of its own.
  await page.getByRole('button', { name: 'Login and preferences' }).waitFor();
  t.notOk(
    await page.evaluate<boolean>(
      'document.documentElement.scrollWidth > document.documentElement.clientWidth',
    ),
    'nothing is wider than a phone',
  );
  await page.emulateMedia({ colorScheme: 'dark' });
  t.same(await findings(page), [], 'on a phone, in the dark');
  await screenshot(page, 'operator-phone-dark');
  await page.reload();
  await devices.getByText('Device 0').waitFor();
  t.pass('the token is kept for this tab');
  // as a server says that has run for long
  await page.route('**/api/operator/status', async (route) => {
    const response = await route.fetch();
    const status = (await response.json()) as Record<string, unknown>;
    await route.fulfill({ response, json: { ...status, uptime: 5 * 86_400 } });
  });
  await page.getByText('up for 5 days').waitFor();
  await page.unrouteAll({ behavior: 'wait' });
  await server.app.close();
  await page.getByText(/No news since/).waitFor();
  await devices.getByText('Device 0').waitFor();
  await screenshot(page, 'operator-away');
});
