import { codeOf } from '../../../src/errors.js';
import type { Check } from '../check.js';
import { render, withEngine } from '../clip.js';
import { psnr } from '../difference.js';
import { engineOptions, testClip } from './accuracy.js';

const cancels = 10;
/** From the cancellation to the refusal: one window of the bundled model and its frames. */
const patienceMs = 5000;

export const cancelling: Check = {
  name: 'cancel',
  what: 'a clip that is cancelled at any moment ends soon, and the next one is as if nothing had been',
  needs: ['clip-float32'],
  run: async (context) =>
    withEngine(engineOptions(context, 'exact'), async (engine) => {
      const options = await testClip(context);
      const start = performance.now();
      const before = await render(engine, options);
      const whole = performance.now() - start;
      let [slowest, others] = [0, 0];
      let cut = 0;
      for (let i = 0; i < cancels; i++) {
        const abort = new AbortController();
        let at = 0;
        const timer = setTimeout(
          () => {
            at = performance.now();
            abort.abort();
          },
          (whole * (i + 0.5)) / cancels,
        );
        try {
          await engine.render(options, { onFrames: () => {}, signal: abort.signal });
        } catch (error) {
          if (codeOf(error) === 'ENGINE_CANCELLED') cut++;
          else others++;
          slowest = Math.max(slowest, performance.now() - at);
        } finally {
          clearTimeout(timer);
        }
      }
      const after = await render(engine, options);
      return {
        figures: [
          { what: 'cancelled clips', value: cut, least: 1 },
          { what: 'other failures', value: others, most: 0 },
          { what: 'slowest end', value: slowest, unit: 'ms', most: patienceMs },
          {
            what: 'the next clip, PSNR against the first',
            value: psnr(after.frames, before.frames),
            unit: 'dB',
            least: Infinity,
          },
        ],
      };
    }),
};
