import { randomUUID } from 'node:crypto';
import t from 'tap';
import { isEnd } from '../../src/queue/update.js';
import { Client } from '../helpers/client.js';
import { until } from '../helpers/until.js';
import { picture, tone } from '../helpers/samples.js';
import { Service, ownSettings } from '../helpers/stack.js';
import { Talker } from '../session/session-helper.js';

t.setTimeout(120_000);

void t.test('files of a session serve only its own tasks', async (t) => {
  const service = await Service.start(t, {
    ...(await ownSettings(t)),
    ...{ WORKER_DEVICES: 'sim:1', SIM_FRAME_MS: '1' },
  });
  const [image, sound, plainImage, plainSound] = await Promise.all(
    [await picture(), tone(0.2), await picture(), tone(0.2)].map((data) => service.upload(data)),
  );
  await service.stack.workersReady;
  const { token } = await Client.register(service.url, 'ann');
  const talker = await Talker.open(t, `${service.url.replace('http', 'ws')}/ws`);
  await talker.connect({ token, mode: 'video', image_id: image });
  talker.send('audio_uploaded', { audio_url: sound });
  const { data } = await talker.next('task_result');
  t.equal(data['status'], 'completed', 'a task of the session may use them');
  const video = String(data['video_url']).split('/').at(-1);

  const plain = { session_id: 'other', ref_image_id: plainImage, audio_id: plainSound };
  const foreign: Record<string, Record<string, unknown>> = {
    'a picture': { ref_image_id: image },
    'a picture in capitals': { ref_image_id: image?.toUpperCase() },
    'a sound': { audio_id: sound },
    'a video': { audio_id: video },
    'in the name of the session': { session_id: talker.sessionId, ref_image_id: image },
    'in the name of its task': {
      ...{ task_id: data['task_id'], session_id: talker.sessionId },
      ...{ ref_image_id: image, audio_id: sound, seed: 7 },
    },
  };
  for (const [name, more] of Object.entries(foreign)) {
    const task = { task_id: randomUUID(), ...plain, ...more };
    const before = service.heard.length;
    await service.push(task);
    const isIts = ({ task_id }: { task_id: string }) => task_id === task.task_id;
    await until(() => service.heard.slice(before).some((u) => isIts(u) && isEnd(u)), name);
    const told = service.heard.slice(before).filter(isIts);
    const role = 'ref_image_id' in more ? 'ref_image_id' : 'audio_id';
    const id = String((task as Record<string, unknown>)[role]);
    t.match(told.at(-1), {
      ...{ status: 'failed', code: 'TASK_FILE_NOT_FOUND' },
      error: `${role}: there is no file ${id}, or it has expired`,
    });
  }

  await service.push({ task_id: 'unknown', ...plain, ref_image_id: randomUUID() });
  t.match(await service.end('unknown'), { code: 'TASK_FILE_NOT_FOUND' }, 'as of any unknown file');
  await service.push({ task_id: 'plain', ...plain });
  t.match(await service.end('plain'), { status: 'completed' }, 'files of nobody serve everybody');
});
