"""Pushes this kit to the Hugging Face Hub.  python push.py shows what it would do; python push.py --yes does it.

Needs `pip install huggingface_hub` and `hf auth login`. It can be run again: repositories that are there are kept, changed files are sent.
"""

import json
import sys
from pathlib import Path

from huggingface_hub import HfApi

HERE = Path(__file__).resolve().parent


def main() -> None:
    """Models, data set and Space, then the collection that names them."""
    api, collection = HfApi(), json.loads((HERE / "collection.json").read_text(encoding="utf-8"))
    folders = {"space": HERE / "space", "dataset": HERE / "dataset"}
    for item in collection["items"]:
        repo_id, kind = item["item_id"], item["item_type"]
        folder = folders.get(kind, HERE / "models" / repo_id.split("/")[1])
        print(f"{kind} {repo_id}: {sum(1 for _ in folder.iterdir())} files", flush=True)
        if "--yes" in sys.argv:
            sdk = "gradio" if kind == "space" else None
            api.create_repo(repo_id, repo_type=kind, space_sdk=sdk, exist_ok=True)
            api.upload_folder(
                repo_id=repo_id, folder_path=folder, repo_type=kind, commit_message="sfi-zoo kit"
            )
    print(f"collection {collection['title']}: {len(collection['items'])} items")
    if "--yes" in sys.argv:
        slug = api.create_collection(
            collection["title"],
            namespace=collection["namespace"],
            description=collection["description"],
            exists_ok=True,
        ).slug
        for item in collection["items"]:
            api.add_collection_item(slug, item["item_id"], item["item_type"], exists_ok=True)
        print(f"{api.endpoint}/collections/{slug}")
    else:
        print("nothing was sent; --yes sends it")


if __name__ == "__main__":
    main()
