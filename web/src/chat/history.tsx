import { useEffect, useState } from 'preact/hooks';
import type { Conversation } from '../../../src/client/index.js';
import { type Failure, describe, failureOf } from '../failure.js';
import { t } from '../i18n/index.js';
import { Button } from '../parts/button.js';
import { Confirm, Dialog } from '../parts/dialog.js';
import { Field } from '../parts/field.js';
import { Notice } from '../parts/notice.js';
import { saveAs } from '../save-as.js';
import { server } from '../server.js';
import { dateTime } from '../time.js';
import { roles } from './roles.js';
import type { Setup } from './setup.js';

const pageSize = 10;

/** Conversations that are kept: to go on with, rename, take along or delete. */
export function History({ onOpen }: { onOpen: (setup: Omit<Setup, 'mode'>) => void }) {
  const { chat, common } = t();
  const [found, setFound] = useState<{ rows: readonly Conversation[]; total: number }>();
  const [failure, setFailure] = useState<Failure>();
  const [renamed, setRenamed] = useState<Conversation>();
  const [doomed, setDoomed] = useState<Conversation>();
  const attempt = (work: () => Promise<void>) => {
    setFailure(undefined);
    work().catch((error: unknown) => setFailure(failureOf(error)));
  };
  const load = async (count = pageSize) => {
    const answer = await server.conversations.list({ page_size: Math.min(count, 100) });
    setFound({ rows: answer.conversations, total: answer.total });
  };
  useEffect(() => attempt(load), []);

  if (found?.rows.length === 0) return null;
  return (
    <section class="history" aria-labelledby="history">
      <h2 id="history">{chat.history}</h2>
      {failure && <Notice>{describe(failure)}</Notice>}
      <ul>
        {found?.rows.map((row) => (
          <li key={row.conversation_id}>
            <div class="history-words">
              <p class="history-title">{titleOf(row)}</p>
              <p class="quiet">
                {whoOf(row) && `${whoOf(row)} · `}
                <time dateTime={row.last_message_at ?? row.started_at}>
                  {dateTime(Date.parse(row.last_message_at ?? row.started_at))}
                </time>
              </p>
            </div>
            <div class="row">
              <Button onClick={() => onOpen(setupOf(row))} aria-label={chat.goOnWith(titleOf(row))}>
                {chat.goOn}
              </Button>
              <Button look="quiet" icon="pencil" isIconOnly onClick={() => setRenamed(row)}>
                {chat.renameIt(titleOf(row))}
              </Button>
              <Button
                look="quiet"
                icon="download"
                isIconOnly
                onClick={() =>
                  attempt(async () =>
                    saveAs(await server.conversations.export(row.conversation_id)),
                  )
                }
              >
                {chat.exportIt(titleOf(row))}
              </Button>
              <Button look="quiet" icon="bin" isIconOnly onClick={() => setDoomed(row)}>
                {chat.deleteIt(titleOf(row))}
              </Button>
            </div>
          </li>
        ))}
      </ul>
      {found !== undefined && found.total > found.rows.length && found.rows.length < 100 && (
        <div>
          <Button onClick={() => attempt(() => load(found.rows.length + 3 * pageSize))}>
            {chat.showMore}
          </Button>
        </div>
      )}
      {renamed && (
        <Rename
          row={renamed}
          onClose={() => setRenamed(undefined)}
          onRename={(title) => {
            setRenamed(undefined);
            attempt(async () => {
              await server.conversations.rename(renamed.conversation_id, title);
              await load(found?.rows.length);
            });
          }}
        />
      )}
      {doomed && (
        <Confirm
          title={chat.deleteIt(titleOf(doomed))}
          action={common.remove}
          onClose={() => setDoomed(undefined)}
          onConfirm={() => {
            setDoomed(undefined);
            attempt(async () => {
              await server.conversations.remove(doomed.conversation_id);
              await load(found?.rows.length);
            });
          }}
        >
          {chat.deleteHint}
        </Confirm>
      )}
    </section>
  );
}

function Rename({
  row,
  onClose,
  onRename,
}: {
  row: Conversation;
  onClose: () => void;
  onRename: (title: string) => void;
}) {
  const { chat } = t();
  const [title, setTitle] = useState(row.title ?? '');
  return (
    <Dialog title={chat.rename} onClose={onClose}>
      <form
        class="stack"
        onSubmit={(event) => {
          event.preventDefault();
          onRename(title.trim());
        }}
      >
        <Field
          label={chat.newTitle}
          required
          pattern=".*\S.*"
          maxLength={200}
          value={title}
          onInput={(event) => setTitle(event.currentTarget.value)}
        />
        <div class="row row-end">
          <Button look="main" type="submit">
            {chat.rename}
          </Button>
        </div>
      </form>
    </Dialog>
  );
}

const titleOf = ({ title }: Conversation) => title ?? t().chat.untitled;
const roleOf = ({ role_id }: Conversation) =>
  roles.value?.find((role) => role.role_id === role_id) ?? roles.value?.[0];
const whoOf = (row: Conversation) => roleOf(row)?.name;

function setupOf(row: Conversation): Omit<Setup, 'mode'> {
  const role = roleOf(row);
  return {
    ...{ name: role?.name ?? '', imageUrl: role?.image_url ?? '' },
    conversationId: row.conversation_id,
  };
}
