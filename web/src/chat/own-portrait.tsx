import { useEffect, useState } from 'preact/hooks';
import { type Failure, describe, failureOf } from '../failure.js';
import { t } from '../i18n/index.js';
import { Button } from '../parts/button.js';
import { Dialog } from '../parts/dialog.js';
import { Field, Tick } from '../parts/field.js';
import { FileDrop } from '../parts/file-drop.js';
import { Notice } from '../parts/notice.js';
import { Progress } from '../parts/progress.js';
import { account, info, server } from '../server.js';
import { chosen, loadRoles } from './roles.js';
import type { Setup } from './setup.js';

const MiB = 1024 * 1024;

/**
 * Someone of the user's own: kept as a role with an account, otherwise for one conversation.
 * `onReady` gets that conversation, or nothing when a role was made.
 */
export function OwnPortrait({
  onClose,
  onReady,
}: {
  onClose: () => void;
  onReady: (setup?: Omit<Setup, 'mode'>) => void;
}) {
  const { chat } = t();
  const isKept = account.value !== undefined;
  const [file, setFile] = useState<File>();
  const [preview, setPreview] = useState<string>();
  const [name, setName] = useState('');
  const [personality, setPersonality] = useState('');
  const [hasConsent, setConsent] = useState(false);
  const [sent, setSent] = useState<number>();
  const [failure, setFailure] = useState<Failure>();
  const [picture, setPicture] = useState<string>();

  useEffect(() => () => picture && URL.revokeObjectURL(picture), [picture]);

  const choose = (next: File) => {
    const most = info.value?.max_bytes.image;
    setFailure(
      most !== undefined && next.size > most
        ? { code: 'FILE_TOO_LARGE', message: chat.atMost(Math.floor(most / MiB)) }
        : undefined,
    );
    setFile(next);
    setPicture(URL.createObjectURL(next));
    setPreview(next.name);
  };
  const make = async () => {
    if (file === undefined || !hasConsent) {
      setFailure({ code: file === undefined ? 'FILE_MISSING' : 'CONSENT_REQUIRED', message: '' });
      return;
    }
    setFailure(undefined);
    setSent(0);
    try {
      const { file_id } = await server.upload(file, {
        onProgress: (done, total) => setSent((100 * done) / total),
      });
      if (!isKept) {
        const imageUrl = server.fileUrl(file_id);
        onReady({ name: chat.ownName, imageUrl, imageId: file_id });
        return;
      }
      const made = await server.roles.create({
        ...{ name: name.trim(), personality: personality.trim(), image_id: file_id, consent: true },
      });
      chosen.value = made.role_id;
      await loadRoles();
      onReady();
    } catch (error) {
      setFailure(failureOf(error));
      setSent(undefined);
    }
  };
  return (
    <Dialog title={chat.own} onClose={onClose}>
      <form
        class="stack"
        onSubmit={(event) => {
          event.preventDefault();
          void make();
        }}
      >
        <FileDrop
          label={preview ?? chat.choosePicture}
          hint={chat.pictureHint}
          accept="image/png,image/jpeg,image/webp,image/gif"
          onFile={choose}
        >
          {picture && <img src={picture} alt={chat.preview} />}
        </FileDrop>
        {isKept ? (
          <>
            <Field
              label={chat.roleName}
              required
              maxLength={80}
              value={name}
              onInput={(event) => setName(event.currentTarget.value)}
            />
            <Field
              label={chat.personality}
              hint={chat.personalityHint}
              maxLength={4000}
              value={personality}
              onInput={(event) => setPersonality(event.currentTarget.value)}
            />
          </>
        ) : (
          <p class="hint">{chat.notKept}</p>
        )}
        <Tick isTicked={hasConsent} onTick={setConsent}>
          {chat.consent}
        </Tick>
        {failure && <Notice>{describe(failure)}</Notice>}
        {sent !== undefined && <Progress label={chat.uploading} value={sent} />}
        <div class="row row-end">
          <Button look="main" type="submit" disabled={sent !== undefined}>
            {isKept ? chat.makeRole : chat.begin}
          </Button>
        </div>
      </form>
    </Dialog>
  );
}
