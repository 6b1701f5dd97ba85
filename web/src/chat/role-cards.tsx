import { useState } from 'preact/hooks';
import type { Role } from '../../../src/client/index.js';
import { type Failure, failureOf } from '../failure.js';
import { t } from '../i18n/index.js';
import { Button } from '../parts/button.js';
import { Confirm } from '../parts/dialog.js';
import { Icon } from '../parts/icon.js';
import { localUrl, server } from '../server.js';
import { chosen, loadRoles, roles } from './roles.js';

/** Everyone there is to talk to, as radio buttons, and the way to one's own portrait. */
export function RoleCards({
  onMake,
  onFailure,
}: {
  onMake: () => void;
  onFailure: (failure: Failure) => void;
}) {
  const { chat, common } = t();
  const [doomed, setDoomed] = useState<Role>();
  const remove = async ({ role_id }: Role) => {
    setDoomed(undefined);
    try {
      await server.roles.remove(role_id);
      await loadRoles();
    } catch (error) {
      onFailure(failureOf(error));
    }
  };
  return (
    <>
      <fieldset class="cards">
        <legend class="visually-hidden">{chat.who}</legend>
        {roles.value?.map((role) => (
          <div class="card" key={role.role_id}>
            <label>
              <input
                type="radio"
                name="role"
                checked={chosen.value === role.role_id}
                onChange={() => (chosen.value = role.role_id)}
              />
              {role.image_url === null ? (
                <span class="card-blank">
                  <Icon name="person" />
                </span>
              ) : (
                <img src={localUrl(role.image_url)} alt="" width="240" height="240" />
              )}
              <span class="card-name">{role.name}</span>
              <span class="card-words">{role.personality}</span>
            </label>
            {role.is_mine && (
              <Button look="quiet" icon="bin" isIconOnly onClick={() => setDoomed(role)}>
                {chat.deleteRole(role.name)}
              </Button>
            )}
          </div>
        ))}
        {roles.value !== undefined && (
          <button type="button" class="card card-new" onClick={onMake}>
            <Icon name="plus" />
            <span class="card-name">{chat.own}</span>
            <span class="card-words">{chat.ownHint}</span>
          </button>
        )}
      </fieldset>
      {roles.value === undefined && <p class="quiet">{common.loading}</p>}
      {doomed && (
        <Confirm
          title={chat.deleteRole(doomed.name)}
          action={common.remove}
          onConfirm={() => void remove(doomed)}
          onClose={() => setDoomed(undefined)}
        >
          {chat.deleteRoleHint}
        </Confirm>
      )}
    </>
  );
}
