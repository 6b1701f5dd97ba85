import { useEffect, useState } from 'preact/hooks';
import { askLogin, isLoginFailure } from '../account/login.js';
import { type Failure, describe, failureOf } from '../failure.js';
import { t } from '../i18n/index.js';
import { newId } from '../new-id.js';
import { Button } from '../parts/button.js';
import { Segments, Tick } from '../parts/field.js';
import { Notice } from '../parts/notice.js';
import { Page } from '../parts/page.js';
import { account, greet, info, needsLogin } from '../server.js';
import { oneOf, stored } from '../stored.js';
import { History } from './history.js';
import { OwnPortrait } from './own-portrait.js';
import { RoleCards } from './role-cards.js';
import { chosen, loadRoles, roles } from './roles.js';
import type { Setup } from './setup.js';
import { begin, beginning, speaksFirst } from './talk.js';

type Mode = Setup['mode'];
const mode = stored<Mode>('mode', 'video', oneOf<Mode>('voice', 'video'));
const keeps = stored('keeps', true, oneOf(true, false));

/** Who to talk to, and how. */
export function Choose() {
  const { chat, common } = t();
  const [failure, setFailure] = useState<Failure>();
  const [isMaking, setMaking] = useState(false);
  const user = account.value;
  const load = () => {
    setFailure(undefined);
    Promise.all([loadRoles(), greet()]).catch((error: unknown) => setFailure(failureOf(error)));
  };
  useEffect(load, [user?.id]);

  const start = async (setup: Omit<Setup, 'mode'>) => {
    setFailure(undefined);
    try {
      await begin({ ...setup, mode: mode.peek() });
    } catch (error) {
      const why = failureOf(error);
      if (!isLoginFailure(why)) return setFailure(why);
      if (await askLogin(chat.loginToTalk)) await start(setup);
    }
  };
  const startChosen = async () => {
    const wantsLogin = info.peek()?.auth === 'required' && account.peek() === undefined;
    if (wantsLogin || needsLogin.peek()) {
      if (!(await askLogin(chat.loginToTalk))) return;
    }
    const role = roles.peek()?.find(({ role_id }) => role_id === chosen.peek());
    if (role === undefined) return;
    const isKept = account.peek() !== undefined && keeps.peek();
    await start({
      ...{ name: role.name, imageUrl: role.image_url ?? '', greeting: role.greeting ?? undefined },
      ...{ roleId: role.role_id, conversationId: isKept ? newId() : undefined },
    });
  };
  const make = async () => {
    setMaking(!needsLogin.peek() || (await askLogin(chat.loginToTalk)));
  };
  const pending = beginning.value;
  const why = pending?.line.value.why;

  return (
    <Page title={chat.who}>
      {failure && (
        <Notice
          actions={roles.value === undefined && <Button onClick={load}>{common.tryAgain}</Button>}
        >
          {describe(failure)}
        </Notice>
      )}
      <form
        class="choose"
        onSubmit={(event) => {
          event.preventDefault();
          void startChosen();
        }}
      >
        <RoleCards onMake={() => void make()} onFailure={setFailure} />
        <div class="start panel">
          <Segments
            label={chat.how}
            value={mode.value}
            options={[
              { value: 'video', label: chat.video },
              { value: 'voice', label: chat.voice },
            ]}
            onChoose={(value) => (mode.value = value)}
          />
          <p class="hint">{mode.value === 'video' ? chat.videoHint : chat.voiceHint}</p>
          {mode.value === 'video' && (
            <Tick
              isTicked={speaksFirst.value}
              onTick={(isTicked) => (speaksFirst.value = isTicked)}
            >
              {chat.speaksFirst}
            </Tick>
          )}
          {user !== undefined && (
            <Tick isTicked={keeps.value} onTick={(isTicked) => (keeps.value = isTicked)}>
              {chat.keep}
            </Tick>
          )}
          <div class="row">
            <Button
              look="main"
              type="submit"
              disabled={pending !== undefined || chosen.value === undefined}
            >
              {pending === undefined ? chat.begin : chat.connecting}
            </Button>
            {pending !== undefined && (
              <Button onClick={() => pending.end()}>{common.cancel}</Button>
            )}
          </div>
          {needsLogin.value && <Notice kind="info">{common.needsLogin}</Notice>}
          {why && <Notice kind="info">{describe(why)}</Notice>}
        </div>
      </form>
      {user !== undefined && <History onOpen={(setup) => void start(setup)} />}
      {isMaking && (
        <OwnPortrait
          onClose={() => setMaking(false)}
          onReady={(setup) => {
            setMaking(false);
            if (setup !== undefined) void start(setup);
          }}
        />
      )}
    </Page>
  );
}
