/** Keeps an answer as a file under the name that the server gave it. */
export async function saveAs(answer: Response): Promise<void> {
  const named = answer.headers.get('content-disposition') ?? '';
  const encoded = /filename\*=UTF-8''([^;]+)/i.exec(named)?.[1];
  const plain = /filename="?([^";]+)"?/i.exec(named)?.[1];
  const link = document.createElement('a');
  link.href = URL.createObjectURL(await answer.blob());
  link.download = encoded === undefined ? (plain ?? 'file') : decodeURIComponent(encoded);
  link.click();
  URL.revokeObjectURL(link.href);
}
