import { type Static, Type } from 'typebox';
import { pageMembers } from '../answers.js';
import { fileId, taskSettings } from '../queue/schema.js';
import { taskUpdate } from '../queue/update.js';

/** What a client asks for over HTTP. */
export const newRender = Type.Object(
  { image_id: fileId, audio_id: fileId, ...taskSettings.properties },
  { additionalProperties: false },
);
export type NewRender = Static<typeof newRender>;

const time = Type.String({ description: 'ISO 8601' });

/** A task as HTTP tells of it: its last update, and what was asked for. */
export const renderState = Type.Object({
  ...taskUpdate.properties,
  ...newRender.properties,
  created_at: time,
  finished_at: Type.Optional(time),
});
export type RenderState = Static<typeof renderState>;

export const createdAnswer = Type.Object({
  success: Type.Literal(true),
  task_id: Type.String(),
  /** How many tasks wait before it. */
  position: Type.Integer({ minimum: 0 }),
  /** The one that was asked for, or the one that was chosen. */
  seed: Type.Integer(),
});
export const renderAnswer = Type.Object({ success: Type.Literal(true), task: renderState });
export const rendersAnswer = Type.Object({
  success: Type.Literal(true),
  tasks: Type.Array(renderState),
  ...pageMembers,
});
export const cancelledAnswer = Type.Object({
  success: Type.Literal(true),
  task_id: Type.String(),
  /** `stopping`: its worker ends it in a moment. `ended`: it was over before. */
  outcome: Type.Enum(['withdrawn', 'stopping', 'ended']),
});

/** One model that live devices have. */
const modelOption = Type.Object({
  name: Type.String(),
  /** How many live devices have it. */
  devices: Type.Integer({ minimum: 1 }),
  simulated: Type.Boolean(),
  /** `default` is the side that the model was made for: at others it draws worse. */
  size: Type.Object({
    default: Type.Integer(),
    minimum: Type.Integer(),
    maximum: Type.Integer(),
    step: Type.Integer(),
  }),
  steps: Type.Integer(),
  cfg: Type.Number(),
  fps: Type.Number(),
});
export const optionsAnswer = Type.Object({
  success: Type.Literal(true),
  /** Empty while no device is there. */
  models: Type.Array(modelOption),
  limits: Type.Object({
    image_bytes: Type.Integer(),
    audio_bytes: Type.Integer(),
    video_bytes: Type.Integer(),
    audio_seconds: Type.Number(),
    /** How long files and finished tasks are kept. */
    file_hours: Type.Number(),
    task_hours: Type.Number(),
  }),
  /** Whether a task needs an account. */
  auth_required: Type.Boolean(),
});
export type RenderOptions = Static<typeof optionsAnswer>;
