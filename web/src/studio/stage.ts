import { describe } from '../failure.js';
import { t } from '../i18n/index.js';
import type { Render } from './renders.js';

/** What happens to a render now, in words. */
export function stageOf(render: Render): string {
  const { studio } = t();
  const { status, position = 0, code, error } = render;
  if (status === 'queued') return studio.queued(position);
  if (status === 'completed') return render.isExpired ? studio.expired : studio.stages.completed;
  if (status === 'failed' && code === 'TASK_CANCELLED') return studio.cancelled;
  if (status === 'failed') {
    return describe({ code: code ?? 'INTERNAL', message: error ?? studio.stages.failed });
  }
  return studio.stages[status];
}
