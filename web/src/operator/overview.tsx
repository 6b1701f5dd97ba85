import type { ComponentChildren } from 'preact';
import { duration } from '../failure.js';
import { t } from '../i18n/index.js';
import { Button } from '../parts/button.js';
import { hours, status, throughput, token } from './watch.js';

/** The service in a few numbers. */
export function Overview() {
  const { operator } = t();
  const now = status.value;
  if (now === undefined) return null;
  const points = throughput.value ?? [];
  const sum = (name: 'completed' | 'failed' | 'video_seconds' | 'render_seconds') =>
    points.reduce((total, point) => total + point[name], 0);
  const speed = sum('video_seconds') / sum('render_seconds');
  return (
    <section aria-labelledby="operator-now">
      <div class="operator-head">
        <h2 id="operator-now">{operator.now}</h2>
        <p class="quiet">
          {operator.version(now.version)} · {operator.upFor(duration(now.uptime))}
        </p>
        {token.value !== undefined && (
          <Button look="quiet" onClick={() => (token.value = undefined)}>
            {operator.forgetToken}
          </Button>
        )}
      </div>
      <dl class="operator-tiles">
        <Tile name={operator.running}>{now.tasks.running}</Tile>
        <Tile name={operator.waiting}>{now.tasks.waiting}</Tile>
        <Tile name={operator.sessions}>{now.sessions}</Tile>
        <Tile name={operator.processes}>{now.processes.length}</Tile>
        <Tile name={operator.completedIn(hours.value)}>{sum('completed')}</Tile>
        <Tile name={operator.failedIn(hours.value)} isBad={sum('failed') > 0}>
          {sum('failed')}
        </Tile>
        <Tile name={operator.speed}>
          {Number.isFinite(speed) ? speed.toFixed(speed < 10 ? 2 : 0) : '–'}
        </Tile>
      </dl>
    </section>
  );
}

function Tile({
  name,
  isBad = false,
  children,
}: {
  name: string;
  isBad?: boolean;
  children: ComponentChildren;
}) {
  return (
    <div class={`panel operator-tile${isBad ? ' is-bad' : ''}`}>
      <dt>{name}</dt>
      <dd>{children}</dd>
    </div>
  );
}
