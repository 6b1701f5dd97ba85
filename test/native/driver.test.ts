import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import { driverGpus } from '../../native/driver.js';
import { gpus } from '../../native/index.js';
import { loadConfig } from '../../src/config.js';
import { createLog } from '../../src/log.js';
import { visibleDevices } from '../../worker/supervisor.js';
import { temporaryFolder } from '../helpers/folder.js';

/** What NVIDIA's driver shows of two GPUs. */
async function driverFolder(t: Parameters<typeof temporaryFolder>[0]): Promise<string> {
  const folder = await temporaryFolder(t);
  for (const bus of ['0000:17:00.0', '0000:65:00.0']) {
    await mkdir(join(folder, bus));
    const text = `Model: \t\t NVIDIA L40S\nIRQ:   \t\t 36\nBus Location: \t ${bus}\n`;
    await writeFile(join(folder, bus, 'information'), text);
  }
  return folder;
}

t.test('the GPUs of a driver', async (t) => {
  t.strictSame(driverGpus(await driverFolder(t)), ['NVIDIA L40S', 'NVIDIA L40S']);
  t.strictSame(driverGpus(join(await temporaryFolder(t), 'none')), []);
});

const seen = gpus().devices.length > 0 ? 'this machine has GPUs that are used' : false;

t.test('a GPU that is there and not used is told', { skip: seen }, async (t) => {
  const said: { level: number; msg: string }[] = [];
  const log = createLog('info', {
    write: (line: string) => void said.push(JSON.parse(line) as { level: number; msg: string }),
  });
  t.equal(visibleDevices(loadConfig({}), log, await driverFolder(t)), 'cpu');
  t.match(said, [{ level: 40, msg: /a GPU is there \(NVIDIA L40S, NVIDIA L40S\): .*/ }]);
  t.ok(said[0]!.msg.endsWith(gpus().reason!), 'and what to do');
  said.length = 0;
  t.equal(visibleDevices(loadConfig({}), log, join(await temporaryFolder(t), 'none')), 'cpu');
  t.match(said, [{ level: 30, msg: 'no GPU is used' }]);
});
