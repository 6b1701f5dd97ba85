import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { createLog } from '../../../src/log.js';
import { videoArguments } from '../../../worker/media/encoder.js';
import { type EncoderWish, chooseEncoder } from '../../../worker/media/index.js';
import { ffprobe, folder, refusal } from '../../helpers/media.js';

const said: { msg: string; reason?: string }[] = [];
const log = createLog('info', {
  write: (line: string) => void said.push(JSON.parse(line) as { msg: string }),
});
const driver = existsSync('/proc/driver/nvidia/version');
const wish = (more: Partial<EncoderWish> = {}): EncoderWish => ({
  ...{ wanted: 'auto', device: 'cuda:0', width: 256, height: 256, fps: 24 },
  ...more,
});

/** The options of a list of arguments, `-name value`, without those that every encoder has. */
function optionsOf(args: readonly string[]): Map<string, string> {
  const pairs = new Map<string, string>();
  for (let i = 0; i < args.length; i += 2) pairs.set(args[i]!.slice(1), args[i + 1]!);
  return pairs;
}

void t.test('both encoders make the same kind of file', async (t) => {
  const shared = [
    'vf',
    'colorspace',
    'color_primaries',
    'color_trc',
    'color_range',
    'profile:v',
    'g',
  ];
  const [x264, nvenc] = [
    optionsOf(videoArguments({ name: 'x264' }, 24)),
    optionsOf(videoArguments({ name: 'nvenc', gpu: 2 }, 24)),
  ];
  for (const name of shared) t.equal(nvenc.get(name), x264.get(name), name);
  t.equal(nvenc.get('profile:v'), 'high');
  t.match(nvenc.get('vf'), /format=yuv420p$/);
  t.equal(nvenc.get('gpu'), '2', "the worker's own GPU");
  t.equal(optionsOf(videoArguments({ name: 'nvenc' }, 24)).get('gpu'), 'any');
});

const help = execFileSync('ffmpeg', ['-hide_banner', '-h', 'encoder=h264_nvenc']).toString();
const known = help.includes('AVOptions') ? false : 'this ffmpeg was built without NVENC';

void t.test(
  'this ffmpeg knows every option of NVENC and its values',
  { skip: known },
  async (t) => {
    const general = new Set(['vf', 'c:v', 'b:v', 'g', 'colorspace']);
    for (const [name, value] of optionsOf(videoArguments({ name: 'nvenc', gpu: 0 }, 24))) {
      if (general.has(name) || name.startsWith('color_')) continue;
      const option = name.replace(/:v$/, '');
      const [, type, rest] =
        new RegExp(`^  -${option} +<(\\w+)>([^]*?)(?=^  -|\\z)`, 'm').exec(help) ?? [];
      t.ok(type, `-${option}`);
      if (type === 'int' && !/^\d+$/.test(value)) t.match(rest, new RegExp(`^     ${value} `, 'm'));
    }
  },
);

void t.test('the CPU encodes where nobody asked for more', async (t) => {
  t.same(await chooseEncoder(wish({ device: 'cpu' }), log), { name: 'x264' });
  t.same(await chooseEncoder(wish({ wanted: 'x264' }), log), { name: 'x264' });
  t.same(said, [], 'without a trial');
});

void t.test(
  'without a driver NVENC is left, or refused when demanded',
  { skip: driver },
  async (t) => {
    t.same(await chooseEncoder(wish(), log), { name: 'x264' });
    t.match(said, [{ msg: /encoded by x264/, reason: /Cannot load libcuda|Unknown encoder/ }]);
    const refused = await refusal(chooseEncoder(wish({ wanted: 'nvenc' }), log));
    t.equal(refused.code, 'VIDEO_ENCODER_UNAVAILABLE');
    t.match(
      refused.message,
      /256x256 on cuda:0: (Cannot load libcuda|Unknown encoder).*VIDEO_ENCODER=auto/,
    );
  },
);

void t.test('what the arguments of x264 say is in the file', async (t) => {
  const path = join(folder(t), 'trial.mp4');
  execFileSync('ffmpeg', [
    ...['-v', 'error', '-f', 'lavfi', '-i', 'testsrc=size=256x256:rate=24', '-frames:v', '8'],
    ...[...videoArguments({ name: 'x264' }, 24), path],
  ]);
  const [video] = ffprobe(path).streams;
  t.match(video, { profile: 'High', pix_fmt: 'yuv420p', color_space: 'bt709', color_range: 'tv' });
});
