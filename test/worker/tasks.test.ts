import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { temporaryFolder } from '../helpers/app.js';
import { until } from '../helpers/redis.js';
import { encoded, picture, tone } from '../helpers/samples.js';
import { Service, ownSettings } from '../helpers/stack.js';

interface Probe {
  streams: { codec_name: string; width?: number; r_frame_rate: string; nb_frames: string }[];
  format: { duration: string };
}

t.setTimeout(240_000);

void t.test('tasks', async (t) => {
  const folder = await temporaryFolder(t);
  const service = await Service.start(t, await ownSettings(t));
  const image = await service.upload(await picture(160, 200), 'portrait.png');
  const audio = await service.upload(tone(0.4), 'speech.wav');
  const good = (task_id: string, more: Record<string, unknown> = {}) => ({
    ...{ task_id, session_id: 'session', ref_image_id: image, audio_id: audio },
    ...{ steps: 1, cfg: 1, seed: 7, ...more },
  });
  const probe = async (id: string): Promise<Probe> => {
    const path = join(folder, `${id}.mp4`);
    writeFileSync(path, await service.download(id));
    const args = ['-v', 'error', '-show_streams', '-show_format', '-of', 'json', path];
    return JSON.parse(execFileSync('ffprobe', args, { encoding: 'utf8' })) as Probe;
  };

  await t.test('a portrait and speech become a video', async (t) => {
    await service.push(good('first', { steps: 2 }));
    await service.stack.workersReady;
    await until(async () => (await service.client.get('gpu_status:0')) === 'busy', 'busy', 60_000);
    const last = await service.end('first');
    t.match(last, { status: 'completed', session_id: 'session', percentage: 100, progress: 100 });
    const updates = service.of('first');
    const order = [...new Set(updates.map(({ status }) => status))];
    t.same(order, [
      ...['processing', 'downloading', 'face_detecting', 'inference', 'merging_audio'],
      'completed',
    ]);
    t.ok(updates.filter(({ status }) => status === 'inference').length >= 3, 'the loop reports');
    for (const [i, update] of updates.entries()) {
      t.equal(update.progress, update.percentage);
      t.equal(update.seq, i + 1);
      t.ok(i === 0 || update.progress >= (updates[i - 1]?.progress ?? 0), `progress ${i}`);
    }
    const { streams, format } = await probe(last.video_file_id as string);
    t.match(
      streams.map(({ codec_name }) => codec_name),
      ['h264', 'aac'],
    );
    t.ok(Math.abs(Number(format.duration) - 0.4) < 0.09, `${format.duration} s`);
    t.match(await service.client.hgetall('task:first'), {
      status: 'completed',
      video_file_id: last.video_file_id as string,
    });
    await until(async () => (await service.client.get('gpu_status:0')) === 'idle', 'idle');
    const { stored, work } = await service.files();
    t.same(new Set(stored), new Set([image, audio, last.video_file_id]));
    t.same(work, [], 'the worker keeps nothing');
  });

  await t.test('options are followed; the same seed gives the same video', async (t) => {
    await service.push(good('frames', { frames_num: 3 }));
    await service.push(good('again', { frames_num: 3 }));
    await service.client.lpush(
      'task_queue_gpu_0',
      JSON.stringify(good('pushed left', { frames_num: 3 })),
    );
    const ids: string[] = [];
    for (const task of ['frames', 'again', 'pushed left']) {
      const last = await service.end(task);
      t.match(last, { status: 'completed' });
      ids.push(last.video_file_id as string);
    }
    const { streams } = await probe(ids[0] as string);
    t.equal(streams[0]?.nb_frames, '3');
    const [a, b] = await Promise.all(ids.map((id) => service.download(id)));
    t.ok(a?.equals(b as Buffer));
  });

  await t.test('the sound of a film is fine', async (t) => {
    const [film] = encoded(folder, [['film.mp4', ['-map', '0:a', '-map', '1:v']]]);
    await service.push(
      good('film', {
        audio_id: await service.upload(film as Uint8Array<ArrayBuffer>),
        frames_num: 2,
      }),
    );
    t.match(await service.end('film'), { status: 'completed' });
  });

  await t.test('bad tasks fail once each, with a reason, and leave nothing', async (t) => {
    const before = await service.files();
    const uploads: string[] = [];
    const file = async (content: Uint8Array<ArrayBuffer>) => {
      const id = await service.upload(content);
      uploads.push(id);
      return id;
    };
    const brokenPng = (await picture()).slice();
    brokenPng.fill(0x41, 40);
    const hours = tone(0.1).slice();
    new DataView(hours.buffer).setUint32(4, 0xfffffff0, true);
    new DataView(hours.buffer).setUint32(40, 0xffffffc0, true);
    const cases: [string, unknown, string][] = [
      ['steps-0', { steps: 0 }, 'TASK_INVALID'],
      ['cfg-text', { cfg: 'NaN' }, 'TASK_INVALID'],
      ['seed', { seed: -1 }, 'TASK_INVALID'],
      ['too-many-frames', { frames_num: 1e15 }, 'TASK_INVALID'],
      ['no-image', { ref_image_id: undefined }, 'TASK_INVALID'],
      ['url', { audio_id: 'http://127.0.0.1/x.wav' }, 'TASK_INVALID'],
      [
        'unknown-image',
        { ref_image_id: audio.replace(/^......../, '00000000') },
        'TASK_FILE_NOT_FOUND',
      ],
      [
        'unknown-audio',
        { audio_id: image.replace(/^......../, '00000000') },
        'TASK_FILE_NOT_FOUND',
      ],
      ['swapped', { ref_image_id: audio, audio_id: image }, 'TASK_FILE_WRONG_TYPE'],
      ['broken-image', { ref_image_id: await file(brokenPng) }, 'IMAGE_UNREADABLE'],
      ['one-pixel', { ref_image_id: await file(await picture(1, 1)) }, 'IMAGE_TOO_SMALL'],
      ['silence', { audio_id: await file(tone(0.2, 8000, 0)) }, 'AUDIO_SILENT'],
      ['no-sound', { audio_id: await file(tone(0)) }, 'AUDIO_EMPTY'],
      ['hours', { audio_id: await file(hours) }, 'AUDIO_TOO_LONG'],
    ];
    for (const [id, more] of cases) await service.push(good(id, more as Record<string, unknown>));
    await service.push(JSON.stringify(good('cfg-nan', { cfg: 9 })).replace('"cfg":9', '"cfg":NaN'));
    await service.push('{"task_id":"malformed","session_id":"s"');
    await service.push('no task at all');
    await service.push(good('the next one', { frames_num: 2 }));
    t.match(await service.end('the next one'), { status: 'completed' });

    for (const [id, , code] of [
      ...cases,
      ['cfg-nan', null, 'TASK_INVALID'],
      ['malformed', null, 'TASK_MALFORMED'],
      ['', null, 'TASK_MALFORMED'],
    ] as const) {
      const ends = service.of(id).filter(({ status }) => /completed|failed/.test(status));
      t.equal(ends.length, 1, `${id} ends once`);
      t.match(ends[0], { status: 'failed', code: new RegExp(`^${code}`), error: /\S{3}/ }, id);
      t.equal(ends[0], service.of(id).at(-1), `nothing is said of ${id} after its end`);
      t.notMatch(ends[0]?.error ?? '', service.settings['DATA_DIR'], 'no paths of ours');
    }
    t.equal(await service.client.llen('task_queue_gpu_0'), 0);
    t.equal(await service.client.llen('task_queue_gpu_0:dead'), 2, 'what is no task is buried');
    await until(async () => (await service.client.get('gpu_status:0')) === 'idle', 'idle');
    t.same(await service.client.keys('task_lease:*'), []);
    const after = await service.files();
    t.same(after.work, []);
    t.equal(after.stored.length, before.stored.length + uploads.length + 1);
  });
});
