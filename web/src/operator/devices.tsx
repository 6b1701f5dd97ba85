import { useState } from 'preact/hooks';
import type { OperatorStatus } from '../../../src/client/index.js';
import { t } from '../i18n/index.js';
import { Button } from '../parts/button.js';
import { Confirm } from '../parts/dialog.js';
import { Progress } from '../parts/progress.js';
import { act } from './news.js';
import { operator as server, status } from './watch.js';

type Device = OperatorStatus['devices'][number];

export function Devices() {
  const { operator } = t();
  const devices = status.value?.devices ?? [];
  return (
    <section class="stack" aria-labelledby="operator-devices">
      <h2 id="operator-devices">{operator.devices}</h2>
      {devices.length === 0 ? (
        <p class="quiet">{operator.noDevices}</p>
      ) : (
        <ul class="card-list">
          {devices.map((device) => (
            <DeviceCard key={device.id} device={device} />
          ))}
        </ul>
      )}
    </section>
  );
}

function DeviceCard({ device }: { device: Device }) {
  const { operator } = t();
  const {
    id,
    name,
    kind,
    task,
    progress,
    queue_length: waiting,
    waiting_tasks: waitingTasks,
  } = device;
  return (
    <li class="panel operator-device">
      <div class="operator-device-head">
        <h3>{operator.device(id)}</h3>
        <span class={`operator-state is-${device.status}`}>{operator.states[device.status]}</span>
      </div>
      <p class="quiet">
        {[name, operator.kinds[kind as keyof typeof operator.kinds] ?? kind]
          .filter(Boolean)
          .join(' · ')}
      </p>
      {task !== undefined && (
        <div class="operator-task">
          <Progress
            label={task}
            detail={progress === undefined ? undefined : `${Math.round(progress)} %`}
            value={progress}
          />
          <CancelButton taskId={task} />
        </div>
      )}
      {waiting > 0 && waitingTasks.length > 0 ? (
        <details class="operator-queue">
          <summary>{operator.queue(waiting)}</summary>
          <ol>
            {waitingTasks.map((one, i) => (
              <li key={`${i} ${one}`}>
                <span class="operator-id">{one || operator.nameless}</span>
                {one && <CancelButton taskId={one} />}
              </li>
            ))}
          </ol>
        </details>
      ) : (
        <p class="quiet">{operator.queue(waiting)}</p>
      )}
      {device.dead > 0 && <p class="problem">{operator.deadHere(device.dead)}</p>}
    </li>
  );
}

function CancelButton({ taskId }: { taskId: string }) {
  const { operator, common } = t();
  const [isAsking, setAsking] = useState(false);
  return (
    <>
      <Button aria-label={`${common.cancel}: ${taskId}`} onClick={() => setAsking(true)}>
        {common.cancel}
      </Button>
      {isAsking && (
        <Confirm
          title={operator.cancelTitle}
          action={operator.cancelIt}
          onClose={() => setAsking(false)}
          onConfirm={() => {
            setAsking(false);
            void act(() => server.cancel(taskId), operator.cancelled(taskId));
          }}
        >
          {operator.cancelHint(taskId)}
        </Confirm>
      )}
    </>
  );
}
