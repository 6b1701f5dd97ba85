import { create } from '@bufbuild/protobuf';
import {
  AttributeProto_AttributeType as Kind,
  AttributeProtoSchema,
  GraphProtoSchema,
  TensorProto_DataType as Type,
  type ModelProto,
} from 'onnx-buf';
import t from 'tap';
import {
  configsOf,
  fullSize,
  shapesOf,
  smallSize,
  type Sizes as CheckpointSizes,
} from '../../bench/synthetic/checkpoint.js';
import { Graph } from '../../weights/graph/builder.js';
import { DataFile } from '../../weights/graph/data-file.js';
import * as W from '../../weights/graph/weight.js';
import { parseUNetConfig, parseVaeConfig, parseWhisperDims } from '../../weights/model/config.js';
import { networkNames, planModel, type NetworkName } from '../../weights/model/plan.js';
import type { WeightSource } from '../../weights/model/source.js';
import type { Sizes } from './graph-shapes.js';
import { kinds, limits, operators, restrictions } from './tensorrt-operators.js';
import { compare, outputsOf } from './tensorrt-rules.js';

type Models = Readonly<Record<NetworkName, ModelProto>>;

/** A checkpoint of which only the shapes are known: enough to plan its graphs. */
function source(path: string, shapes: ReadonlyMap<string, readonly number[]>): WeightSource {
  return {
    path,
    has: (key) => shapes.has(key),
    shape: (key) => shapes.get(key) ?? [],
    fileOf: () => path,
    expect: () => undefined,
    read: () => Promise.reject(new Error(`${path} holds no values`)),
  };
}

/** The graphs that TensorRT reads, and those of the CPU. */
function planOf(sizes: CheckpointSizes, precision: 'fp32' | 'fp16') {
  const { unet, vae, dims } = configsOf(sizes);
  const shapes = shapesOf(sizes);
  const plan = planModel(
    {
      unet: parseUNetConfig(unet, 'unet'),
      vae: parseVaeConfig(vae, 'vae'),
      whisper: parseWhisperDims(dims, 'whisper'),
      motionHeads: sizes.heads,
    },
    {
      denoising: source('denoising', new Map([...shapes.denoising, ...shapes.motion])),
      reference: source('reference', shapes.reference),
      face: source('face', shapes.face),
      vae: source('vae', shapes.vae),
      whisper: source('whisper', shapes.whisper),
    },
    { precision },
  );
  const graphs = new Map(plan.graphs.map(({ path, model }) => [path, model]));
  const standard = {} as Record<NetworkName, ModelProto>;
  const cpu = new Map<NetworkName, ModelProto>();
  for (const name of networkNames) {
    const { file, cpuFile } = plan.networks[name];
    standard[name] = graphs.get(file)!;
    if (cpuFile !== undefined) cpu.set(name, graphs.get(cpuFile)!);
  }
  return { standard, cpu };
}

const named = (sizes: Readonly<Record<string, number>>): Sizes => new Map(Object.entries(sizes));

/** How many tokens the reference's attentions have, by the names of their dimensions. */
function tokensOf(reference: ModelProto, sides: Sizes): [string, number][] {
  const shapes = outputsOf(reference, sides);
  return reference.graph!.output.map(({ name, type }) => {
    const shape = type?.value.case === 'tensorType' ? type.value.value.shape : undefined;
    return [String(shape?.dim[1]?.value.value), shapes.get(name)![1]!];
  });
}

/** Sizes of the calls that the engine makes, from the least to those of `height` x `width` latents. */
function callsOf(models: Models, height: number, width: number, frames: number) {
  // sides that do not halve evenly take other ways through the UNet than sides that do
  const latents = [
    [8, 8],
    [9, 13],
    [height, width],
  ] as const;
  const sides = latents.map(([h, w]) => named({ height: h, width: w }));
  const pixels = latents.map(([h, w]) => ({ height: 8 * h, width: 8 * w }));
  const windows = [1, 5, frames].map((count, i) =>
    named({ batch: 1, frames: count, height: latents[i]![0], width: latents[i]![1] }),
  );
  const calls: Record<NetworkName, readonly Sizes[]> = {
    mel: [201, 16000, 16000 * 60].map((samples) => named({ samples })),
    audio: [2, 301, 3000].map((count) => named({ frames: count })),
    faceLocator: pixels.map(named),
    vaeEncoder: pixels.map((size) => named({ images: 1, ...size })),
    vaeDecoder: latents.flatMap(([h, w]) =>
      [1, 4].map((images) => named({ images, latent_height: h, latent_width: w })),
    ),
    reference: sides,
    denoiser: windows.map((window) => new Map([...window, ...tokensOf(models.reference, window)])),
    denoiserUncond: windows,
  };
  return calls;
}

void t.test('every graph is one that the parser reads', async (t) => {
  const sets = [
    { label: 'small', checkpoint: smallSize, latents: 16, frames: 16, bytes: 2 ** 25 },
    // the release at its own size, 512 x 512 pixels and windows of 12 frames: even where nothing
    // is fused, the widest attention's scores are there for some of its heads only
    { label: 'full', checkpoint: fullSize, latents: 64, frames: 12, bytes: 2 ** 31 },
  ];
  for (const { label, checkpoint, latents, frames, bytes } of sets) {
    for (const precision of ['fp32', 'fp16'] as const) {
      await t.test(`${label}, ${precision}`, (t) => {
        const models = planOf(checkpoint, precision).standard;
        const calls = callsOf(models, latents, latents, frames);
        for (const name of networkNames) {
          const { problems, largest } = compare(name, models[name], calls[name]);
          t.same(problems, [], name);
          t.ok(largest <= bytes, `${name}: its largest tensor has ${largest} bytes`);
        }
        t.end();
      });
    }
  }
});

void t.test('the graphs of the CPU are not', (t) => {
  const { cpu, standard } = planOf(smallSize, 'fp16');
  const calls = callsOf(standard, 16, 16, 16);
  for (const [name, model] of cpu) {
    const { problems } = compare(name, model, calls[name]);
    t.match(problems[0], /domain (com\.microsoft|echomimic) is not the standard one/, name);
  }
  t.ok(cpu.size >= 7);
  t.end();
});

// graph-model.test.ts sees ONNX Runtime make outputs of these shapes
void t.test('shapes are computed as a runtime computes them', (t) => {
  const { standard } = planOf(smallSize, 'fp32');
  const made = (name: NetworkName, of: Readonly<Record<string, number>>) => [
    ...outputsOf(standard[name], named(of)).values(),
  ];
  t.same(made('mel', { samples: 2000 }), [[80, 12]]);
  t.same(made('audio', { frames: 301 }), [[150, 2, smallSize.audioWidth]]);
  t.same(made('faceLocator', { height: 24, width: 40 }), [[smallSize.channels[0], 3, 5]]);
  t.same(made('vaeEncoder', { images: 2, height: 24, width: 40 }), [[2, 4, 3, 5]]);
  t.same(made('vaeDecoder', { images: 2, latent_height: 3, latent_width: 5 }), [[2, 3, 24, 40]]);
  t.end();
});

void t.test('the table names an operator once and restricts none that it lacks', (t) => {
  const listed = kinds.flatMap(([, names]) => names.split(/\s+/));
  t.equal(operators.size, listed.length);
  t.same(
    Object.keys(restrictions).filter((name) => !operators.has(name)),
    [],
  );
  t.end();
});

const sizes = named({ rows: 6 });

interface Bad {
  /** What stands in the graph; the result becomes its output, of `rows` times 4 values. */
  readonly nodes?: (g: Graph, x: string) => string;
  readonly change?: (model: ModelProto) => void;
  readonly says: RegExp;
}

const tensorOf = (model: ModelProto) => {
  const type = model.graph!.input[0]!.type!.value;
  if (type.case !== 'tensorType') throw new Error('not a tensor');
  return type.value;
};
const opsetOf = (model: ModelProto, version: bigint) => {
  model.opsetImport[0]!.version = version;
};
const resize = (attributes: Record<string, string | number>) => (g: Graph, x: string) =>
  g.node('Resize', [x, '', g.floats([1, 1])], attributes);
const lastOf = (g: Graph, x: string) => g.node('Shape', [x], { start: 1 }, 'last');

const bad: Readonly<Record<string, Bad>> = {
  'an operator that it does not know': {
    nodes: (g, x) => g.node('Bernoulli', [x], {}, 'coin'),
    says: /^bad: coin \(Bernoulli\): onnx-tensorrt .* does not read this operator$/,
  },
  'an operator of another domain': {
    nodes: (g, x) => g.contrib('QuickGelu', [x], ['silu'])[0]!,
    says: /silu \(QuickGelu\): domain com.microsoft is not the standard one/,
  },
  'an operator that nobody here looked at': {
    nodes: (g, x) => g.node('Relu', [x]),
    says: /relu \(Relu\): its outputs are not computed here/,
  },
  'a restriction that the table cannot tell': {
    nodes: (g, x) => g.node('QuantizeLinear', [x, g.scalar(1)]),
    says: /QuantizeLinear\): needs a closer look: the zero point/,
  },
  'a graph in a graph': {
    change: ({ graph }) => {
      const branch = create(AttributeProtoSchema, {
        name: 'then_branch',
        type: Kind.GRAPH,
        g: create(GraphProtoSchema),
      });
      graph!.node[0]!.attribute.push(branch);
    },
    says: /has a graph of its own/,
  },
  'an old opset': { change: (model) => opsetOf(model, 8n), says: /opset 8 is not from 9 to/ },
  'a new opset': { change: (model) => opsetOf(model, 99n), says: /opset 99 is not from 9 to/ },
  'an input in double precision': {
    change: (model) => (tensorOf(model).elemType = Type.DOUBLE),
    says: /x has the type double/,
  },
  'a cast to double precision': {
    nodes: (g, x) => g.node('Cast', [x], { to: Type.DOUBLE }),
    says: /cast \(Cast\): makes double/,
  },
  'an initializer of strings': {
    change: ({ graph }) => (graph!.initializer[0]!.dataType = Type.STRING),
    says: /initializer .* has the type string/,
  },
  'an initializer that is elsewhere': {
    change: ({ graph }) =>
      (graph!.initializer.find(({ name }) => name === 'w')!.externalData[0]!.value = '../data'),
    says: /initializer w lies in \.\.\/data/,
  },
  'whole numbers for real ones': {
    nodes: (g, x) => g.node('Expand', [g.node('Sin', [g.ints([1])]), g.node('Shape', [x])]),
    says: /sin \(Sin\): input 0 is int64, not one of float32, float16, bfloat16/,
  },
  'two types in one operator': {
    nodes: (g, x) => g.node('Add', [x, g.scalar(1, 'float16')]),
    says: /add \(Add\): mixes float32 and float16/,
  },
  'axes that are computed': {
    nodes: (g, x) => {
      const axis = g.node('Sub', [lastOf(g, x), g.ints([4])]);
      return g.node('Squeeze', [g.node('Unsqueeze', [x, axis]), g.ints([0])]);
    },
    says: /unsqueeze \(Unsqueeze\): input 1 is not an initializer/,
  },
  'a sum over axes that are computed': {
    nodes: (g, x) => {
      const axis = g.node('Sub', [lastOf(g, x), g.ints([3])]);
      return g.node('Add', [x, g.node('ReduceSumSquare', [x, axis])]);
    },
    says: /ReduceSumSquare\): input 1 is not an initializer/,
  },
  'axes that are missing': {
    nodes: (g, x) => {
      const image = g.node('Unsqueeze', [x, g.ints([0])]);
      return g.node('Squeeze', [image]);
    },
    says: /squeeze \(Squeeze\): input 1 is missing/,
  },
  'a shape that follows from data': {
    nodes: (g, x) => g.node('Reshape', [x, g.node('Cast', [x], { to: Type.INT64 })]),
    says: /reshape \(Reshape\): input 1 decides the shape and follows from data/,
  },
  'a kernel that is computed': {
    nodes: (g, x) => {
      const image = g.node('Unsqueeze', [x, g.ints([0])]);
      const kernel = g.node('Expand', [g.floats([0]), g.ints([6, 6, 1])]);
      return g.node('Squeeze', [g.node('Conv', [image, kernel]), g.ints([0])]);
    },
    says: /conv \(Conv\): input 1 is not an initializer/,
  },
  'a convolution whose bias is computed': {
    nodes: (g, x) => {
      const w = g.weight('kernel', W.filled([6, 6, 1], 1));
      const image = g.node('Unsqueeze', [x, g.ints([0])]);
      const bias = g.node('Expand', [g.floats([0]), g.ints([6])]);
      return g.node('Squeeze', [g.node('Conv', [image, w, bias]), g.ints([0])]);
    },
    says: /conv \(Conv\): input 2 is not an initializer/,
  },
  'too many elements': {
    nodes: (g, x) => {
      const image = g.node('Expand', [g.floats([0]), g.ints([1, 1, 65536, 65536])], {}, 'image');
      const cut = g.node('Slice', [image, g.ints([0, 0]), g.node('Shape', [x]), g.ints([2, 3])]);
      return g.node('Squeeze', [cut, g.ints([0, 1])]);
    },
    says: /image \(Expand\): image has more than 2147483647 elements: \[1, 1, 65536, 65536\]/,
  },
  'a kernel of the wrong rank': {
    nodes: (g, x) => g.node('Conv', [x, g.weight('kernel', W.filled([4, 4], 1))]),
    says: /conv \(Conv\): input 0 has not 3 to 5 axes/,
  },
  'more outputs than it gives': {
    nodes: (g, x) =>
      g.nodes(
        'LayerNormalization',
        [x, g.weight('gain', W.filled([4], 1))],
        ['normal', 'mean'],
      )[0]!,
    says: /LayerNormalization\): has 2 outputs/,
  },
  'cubic resizing': { nodes: resize({ mode: 'cubic' }), says: /Resize\): mode is cubic/ },
  'resizing around the middle': {
    nodes: resize({ coordinate_transformation_mode: 'half_pixel_symmetric' }),
    says: /Resize\): coordinate_transformation_mode is half_pixel_symmetric/,
  },
  'smooth resizing': { nodes: resize({ antialias: 1 }), says: /Resize\): antialias is 1/ },
  'nothing at all in a tensor': {
    nodes: (g, x) => {
      const none = g.node('Slice', [x, g.ints([0]), g.ints([0]), g.ints([0])], {}, 'none');
      return g.node('Concat', [none, x], { axis: 0 });
    },
    says: /none \(Slice\): none is empty: \[0, 4\]/,
  },
  'more axes than a tensor has': {
    nodes: (g, x) => {
      const wide = g.node('Reshape', [x, g.ints([1, 1, 1, 1, 1, 1, 1, -1, 4])], {}, 'wide');
      return g.node('Reshape', [wide, g.ints([-1, 4])]);
    },
    says: /wide \(Reshape\): wide has 9 axes/,
  },
  'a shape of too many numbers': {
    nodes: (g, x) => {
      const shape = g.node('Shape', [x]);
      const many = g.node('Concat', new Array<string>(33).fill(shape), { axis: 0 }, 'many');
      return g.node('Reshape', [x, g.node('Slice', [many, g.ints([0]), g.ints([2]), g.ints([0])])]);
    },
    says: new RegExp(`many holds shapes and has more than ${limits.shapeElements} elements`),
  },
  'a dimension without a name': {
    change: (model) => (tensorOf(model).shape!.dim[0]!.value = { case: undefined }),
    says: /a dimension of x has no name/,
  },
  'an output of another shape than it says': {
    nodes: (g, x) => g.node('Transpose', [x]),
    says: /output y is \[4, 6\], declared as \[6, 4\]/,
  },
  'an output of another type than it says': {
    nodes: (g, x) => g.node('Cast', [x], { to: Type.FLOAT16 }),
    says: /output y is float16, declared as float32/,
  },
  'a node before what it needs': {
    change: ({ graph }) => graph!.node.reverse(),
    says: /comes later/,
  },
};

/** A graph that is good but for what it is asked for. */
function graphWith({ nodes, change }: Pick<Bad, 'nodes' | 'change'>): ModelProto {
  const g = new Graph('bad', new DataFile('bad.data'));
  const x = g.input('x', ['rows', 4]);
  const y = g.node('Add', [x, g.weight('w', W.filled([4], 1))], {}, 'before');
  g.output('y', nodes?.(g, y) ?? y, ['rows', 4]);
  const model = g.build();
  change?.(model);
  return model;
}

void t.test('a graph that it would refuse is named, with node and operator', (t) => {
  t.same(compare('good', graphWith({}), [sizes]).problems, []);
  for (const [what, { says, ...how }] of Object.entries(bad)) {
    const { problems } = compare('bad', graphWith(how), [sizes]);
    t.ok(
      problems.some((problem) => says.test(problem)),
      `${what}: ${problems.join('; ')}`,
    );
  }
  t.end();
});
