import { resnet, upsample } from './blocks.js';
import type { UNetConfig } from './config.js';
import { conv, joinChannels } from './images.js';
import { exactly, within, type Net } from './layers.js';
import type { Params } from './source.js';
import { timeEmbeddings } from './time.js';

/** A place in the UNet where a transformer or a motion module stands. */
export interface Place {
  /** Path of the block, e.g. `up_blocks.1`. */
  readonly block: string;
  readonly index: number;
  readonly channels: number;
  readonly heads: number;
  /** How often the picture was halved on the way here. */
  readonly depth: number;
}

export interface UNetParts {
  /** A spatial transformer, images to images. */
  attention(x: string, place: Place): string;
  /** A motion module, images to images. */
  motion(x: string, place: Place): string;
}

export interface ResnetPlace {
  readonly name: string;
  readonly inner: number;
  readonly channels: number;
}

interface Level {
  readonly block: string;
  readonly resnets: readonly ResnetPlace[];
  readonly attention: boolean;
  readonly heads: number;
  readonly channels: number;
  readonly depth: number;
  /** Whether the level ends with a downsampler or upsampler. */
  readonly resize: boolean;
}

export interface UNetLayout {
  readonly down: readonly Level[];
  readonly mid: Level;
  readonly up: readonly Level[];
}

/** Which layers the UNet of a config has, and how many channels go in and out of each. */
export function layoutOf(config: UNetConfig): UNetLayout {
  const { channels, layersPerBlock, heads, attention } = config;
  const last = channels.length - 1;
  const skips = [channels[0]!];
  let inner = channels[0]!;
  const down = channels.map((out, level): Level => {
    const block = `down_blocks.${level}`;
    const resnets = Array.from({ length: layersPerBlock[level]! }, (_, i) => {
      const place = { name: `${block}.resnets.${i}`, inner, channels: out };
      inner = out;
      skips.push(out);
      return place;
    });
    if (level < last) skips.push(out);
    const sizes = { heads: heads[level]!, channels: out, depth: level, resize: level < last };
    return { block, resnets, attention: attention[level]!, ...sizes };
  });
  const mid: Level = {
    block: 'mid_block',
    resnets: [0, 1].map((i) => ({ name: `mid_block.resnets.${i}`, inner, channels: inner })),
    attention: true,
    heads: heads[last]!,
    channels: inner,
    depth: last,
    resize: false,
  };
  const up = channels.map((_, i): Level => {
    const level = last - i;
    const out = channels[level]!;
    const block = `up_blocks.${i}`;
    const resnets = Array.from({ length: layersPerBlock[level]! + 1 }, (_, k) => {
      const place = { name: `${block}.resnets.${k}`, inner: inner + skips.pop()!, channels: out };
      inner = out;
      return place;
    });
    const sizes = { heads: heads[level]!, channels: out, depth: level, resize: level > 0 };
    return { block, resnets, attention: attention[level]!, ...sizes };
  });
  return { down, mid, up };
}

/**
 * The skeleton both UNets share: from the first features, images of C0 channels, down, through the
 * middle and up to the last features, of C0 channels too.
 */
export function walk(
  net: Net,
  features: string,
  timestep: string,
  p: Params,
  config: UNetConfig,
  parts: UNetParts,
): string {
  const { down, mid, up } = layoutOf(config);
  const every = [...down, mid, ...up].flatMap((level) => level.resnets);
  const times = timeEmbeddings(exactly(net), timestep, p, config, every);
  const { groups, eps } = config;

  const block = (x: string, place: ResnetPlace) => {
    const path = place.name.split('.').slice(-2).join('.');
    const sizes = { inner: place.inner, out: place.channels, groups, eps };
    return within(net, path, () =>
      resnet(net, x, p.at(place.name), { ...sizes, time: times.get(place.name) }),
    );
  };
  const attend = (x: string, level: Level, index: number) =>
    within(net, `attentions.${index}`, () => parts.attention(x, { ...level, index }));
  const move = (x: string, level: Level, index: number) =>
    within(net, `motion_modules.${index}`, () => parts.motion(x, { ...level, index }));

  let x = features;
  const skips = [x];
  for (const level of down) {
    within(net, level.block, () => {
      level.resnets.forEach((place, i) => {
        x = block(x, place);
        if (level.attention) x = attend(x, level, i);
        x = move(x, level, i);
        skips.push(x);
      });
      if (!level.resize) return;
      x = within(net, 'downsamplers.0', () => {
        const layer = p.at(level.block).at('downsamplers.0.conv');
        return conv(net, x, layer, level.channels, level.channels, 3, { stride: 2 });
      });
      skips.push(x);
    });
  }
  within(net, mid.block, () => {
    x = block(x, mid.resnets[0]!);
    x = attend(x, mid, 0);
    x = move(x, mid, 0);
    x = block(x, mid.resnets[1]!);
  });
  for (const level of up) {
    within(net, level.block, () => {
      level.resnets.forEach((place, i) => {
        const skip = skips.pop()!;
        x = joinChannels(net, [x, skip], `skip.${i}`);
        x = block(x, place);
        if (level.attention) x = attend(x, level, i);
        x = move(x, level, i);
      });
      if (!level.resize) return;
      const next = skips.at(-1)!;
      x = within(net, 'upsamplers.0', () =>
        upsample(net, x, p.at(level.block).at('upsamplers.0'), level.channels, next),
      );
    });
  }
  return x;
}
