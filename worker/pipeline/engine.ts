import type { Engine, EngineInfo, LoadOptions } from '../../native/index.js';
import type { Config } from '../../src/config.js';

/** What the pipeline needs of an engine. */
export interface ClipEngine {
  info(): Pick<EngineInfo, 'model' | 'defaults' | 'provider' | 'threads'>;
  readonly render: Engine['render'];
  dispose(): Promise<void>;
  /** Set where no model makes the pictures: no face is looked for, and the video says so. */
  readonly simulated?: true;
}

/** What the configuration says about an engine. */
export function loadOptions({ modelFolder, engine }: Pick<Config, 'modelFolder' | 'engine'>) {
  const { provider, precision, fallback, cacheFolder, graphs, threads } = engine;
  const options: LoadOptions = {
    ...{ model: modelFolder, provider, precision, fallback, graphs },
    engines: cacheFolder,
  };
  return threads === undefined ? options : { ...options, threads };
}
