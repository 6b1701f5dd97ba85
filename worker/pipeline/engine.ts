import type { Engine, EngineInfo } from '../../native/index.js';

/** What the pipeline needs of an engine. */
export interface ClipEngine {
  info(): Pick<EngineInfo, 'model' | 'defaults' | 'provider' | 'threads'>;
  readonly render: Engine['render'];
  dispose(): Promise<void>;
  /** Set where no model makes the pictures: no face is looked for, and the video says so. */
  readonly simulated?: true;
}
