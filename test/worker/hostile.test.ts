import t from 'tap';
import { picture, tone } from '../helpers/samples.js';
import { Service, ownSettings } from '../helpers/stack.js';
import { until } from '../helpers/until.js';
import { mutated, pictureBombs, pictures, soundBombs } from '../media/hostile-files.js';

t.setTimeout(150_000);

void t.test('a worker that gets them as tasks stays healthy', async (t) => {
  const service = await Service.start(t, { ...(await ownSettings(t)), WORKER_DEVICES: 'sim:1' });
  const goodImage = await service.upload(await picture());
  const goodSound = await service.upload(tone(0.3));
  const samples = [
    ...pictureBombs().slice(0, 8),
    ...mutated(await pictures(), 1, 22),
    ...soundBombs().slice(0, 8),
  ];
  const pushed: string[] = [];
  for (const [i, { name, data }] of samples.entries()) {
    const id = await service.upload(new Uint8Array(data)).catch(() => undefined);
    if (id === undefined) continue;
    const isSound = /wav|ogg|mp3|m4a|flac|webm|id3|mp4/.test(name);
    const task_id = `hostile-${i}`;
    pushed.push(task_id);
    const files = isSound
      ? { ref_image_id: goodImage, audio_id: id }
      : { ref_image_id: id, audio_id: goodSound };
    await service.push({ task_id, session_id: 's', ...files });
  }
  const last = { task_id: 'last', session_id: 's', ref_image_id: goodImage, audio_id: goodSound };
  await service.push(last);
  const ends = (id: string) =>
    service.of(id).filter(({ status }) => status === 'completed' || status === 'failed');
  await until(() => ends('last').length > 0, 'the last task is over', 100_000);
  t.match(ends('last'), [{ status: 'completed', attempt: 1 }]);
  t.ok(pushed.length >= 10, `${pushed.length} tasks of uploads that were let in`);
  for (const id of pushed) {
    const [end, ...more] = ends(id);
    t.same(more, [], 'told once');
    t.equal(end?.attempt, 1, 'no worker died of it');
    if (end?.status === 'failed') t.match(end.code, /^(IMAGE|AUDIO|TASK)_/, id);
  }
});
