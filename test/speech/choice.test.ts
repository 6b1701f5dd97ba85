import t from 'tap';
import { loadConfig } from '../../src/config.js';
import { createLog } from '../../src/log.js';
import { recordingOf } from '../../src/media/recording.js';
import { createRecogniser, createSynthesiser } from '../../src/speech/index.js';
import { tone } from '../helpers/samples.js';

const log = createLog('silent');

void t.test('the settings choose who hears and who speaks', async (t) => {
  const keys = { DASHSCOPE_API_KEY: 'sk-0', OPENAI_API_KEY: 'sk-1' };
  const commands = { ASR_COMMAND: 'sh {input}', TTS_COMMAND: 'sh' };
  for (const provider of ['parrot', 'command', 'dashscope', 'openai']) {
    const config = loadConfig({ ASR: provider, ...keys, ...commands });
    const recogniser = createRecogniser(config, log);
    t.equal(recogniser.name, provider);
    await recogniser.close?.();
  }
  for (const provider of ['flite', 'command', 'dashscope', 'openai']) {
    const config = loadConfig({ TTS: provider, ...keys, ...commands });
    const synthesiser = createSynthesiser(config, log);
    t.equal(synthesiser.name, provider);
    await synthesiser.close?.();
  }
});

void t.test('without settings, the parrot hears no words', async (t) => {
  const parrot = createRecogniser(loadConfig({}), log);
  const recording = await recordingOf(tone(1));
  const { signal } = new AbortController();
  t.equal(await parrot.recognise(recording, { signal }), undefined);
  const left = AbortSignal.abort(new Error('left'));
  await t.rejects(parrot.recognise(recording, { signal: left }), new Error('left'));
});
