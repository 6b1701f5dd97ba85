import { randomFillSync } from 'node:crypto';
import { EchoMimicClient } from '../../src/client/index.js';
import { wavFile } from '../../src/media/wav.js';
import type { ApiReport, Measure } from '../report/api.js';
import { inLanes, timed } from './service.js';

const MiB = 1024 * 1024;
/** Small files are sent so often that a run moves about this much. */
const bytesPerRun = 64 * MiB;
const mostPerRun = 128;

async function sizeOf({ body }: Response): Promise<number> {
  let bytes = 0;
  for await (const chunk of body ?? []) bytes += (chunk as Uint8Array).length;
  return bytes;
}

/** MB/s (10^6 bytes) of uploads and of downloads, by size in MiB and by how many at once. */
export async function measureTransfers(
  url: string,
  { sizes, atOnce, runs }: ApiReport['settings'],
): Promise<Measure[]> {
  const client = new EchoMimicClient({ baseUrl: url });
  const measures: Measure[] = [];
  for (const size of sizes) {
    // noise: nothing on the way can compress it
    const content = new Uint8Array(
      wavFile(randomFillSync(Buffer.alloc(Math.round(size * MiB))), 16_000),
    );
    for (const lanes of atOnce) {
      const wanted = Math.round(bytesPerRun / content.length);
      const times = Math.max(lanes, Math.min(wanted, mostPerRun));
      const speed = (ms: number) => (times * content.length) / 1e3 / ms;
      const up: number[][] = [];
      const down: number[][] = [];
      for (let run = 0; run < runs; run++) {
        let ids: string[] = [];
        const sent = await timed(async () => {
          ids = await inLanes(times, lanes, async () => {
            const name = 'noise.wav';
            return (await client.upload(new Blob([content]), { name })).file_id;
          });
        });
        up.push([speed(sent)]);
        const got = await timed(() =>
          inLanes(times, lanes, async (i) => {
            const bytes = await sizeOf(await client.download(ids[i]!));
            if (bytes !== content.length) throw new Error(`${bytes} bytes came back`);
          }),
        );
        down.push([speed(got)]);
        await client.deleteFiles(ids);
      }
      const which = `${size} MiB, ${lanes} at once`;
      measures.push({ what: `upload ${which}`, unit: 'MB/s', runs: up });
      measures.push({ what: `download ${which}`, unit: 'MB/s', runs: down });
    }
  }
  return measures;
}
