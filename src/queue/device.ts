import { type Static, Type } from 'typebox';

/** The sides of pictures that any model is asked for, and what every side is a multiple of. */
export const leastSize = 64;
export const mostSize = 2048;
export const sizeStep = 8;

/** What a worker tells of its device and model, in Redis, for as long as it lives. */
export const deviceInfo = Type.Object({
  worker: Type.String(),
  model: Type.String(),
  provider: Type.String(),
  simulated: Type.Boolean(),
  /** The side in pixels that the model was made for: the default. */
  size: Type.Integer(),
  /** The largest side that tasks may ask for. */
  max_size: Type.Integer(),
  steps: Type.Integer(),
  cfg: Type.Number(),
  fps: Type.Number(),
});
export type DeviceInfo = Static<typeof deviceInfo>;

/** Why a model does not render pictures of this side; undefined when it does. */
export function sizeProblem(
  wanted: number,
  { model, size, max_size }: Pick<DeviceInfo, 'model' | 'size' | 'max_size'>,
): string | undefined {
  if (wanted >= leastSize && wanted <= max_size && wanted % sizeStep === 0) return undefined;
  return (
    `size must be a multiple of ${sizeStep} from ${leastSize} to ${max_size}, not ${wanted}: ` +
    `the model ${model} was made for ${size}`
  );
}
