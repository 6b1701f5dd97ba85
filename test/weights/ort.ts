import { join } from 'node:path';
import * as ort from 'onnxruntime-node';

export interface Values {
  readonly dims: readonly number[];
  readonly data: Float32Array;
}

/** Runs one graph of a model folder on ONNX Runtime's CPU provider. */
export class Runner {
  private constructor(private readonly session: ort.InferenceSession) {}

  static async open(folder: string, file: string): Promise<Runner> {
    const options = { intraOpNumThreads: 1, logSeverityLevel: 3 } as const;
    return new Runner(await ort.InferenceSession.create(join(folder, file), options));
  }

  get inputs(): readonly string[] {
    return this.session.inputNames;
  }

  async run(feeds: Record<string, Values>): Promise<Record<string, Values>> {
    const tensors = Object.entries(feeds).map(
      ([name, { dims, data }]) => [name, new ort.Tensor('float32', data, dims)] as const,
    );
    const results = await this.session.run(Object.fromEntries(tensors));
    return Object.fromEntries(
      Object.entries(results).map(([name, tensor]) => [
        name,
        { dims: tensor.dims, data: tensor.data as Float32Array },
      ]),
    );
  }
}

/** Deterministic values, about normal. */
export function noise(dims: readonly number[], seed = 1): Values {
  const count = dims.reduce((a, b) => a * b, 1);
  let state = seed >>> 0 || 1;
  const uniform = () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) / 2 ** 32;
  };
  const data = Float32Array.from({ length: count }, () => {
    let sum = -6;
    for (let i = 0; i < 12; i++) sum += uniform();
    return sum;
  });
  return { dims, data };
}
