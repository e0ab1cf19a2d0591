from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from localcloud.stripe.store import Store

CUSTOMERS = ["cus_a", "cus_b"]


def subscription(number: int, customer: str) -> dict[str, Any]:
    return {"object": "subscription", "id": f"sub_{number}", "customer": customer, "value": 0}


OPERATIONS = st.lists(
    st.tuples(st.sampled_from(["add", "edit", "remove"]), st.integers(0, 6), st.sampled_from(CUSTOMERS)), max_size=12
)


def perform(store: Store, operations: list[tuple[str, int, str]]) -> None:
    for kind, number, customer in operations:
        found = store.get("subscription", f"sub_{number}")
        if kind == "add" and found is None:
            store.add(subscription(number, customer))
        elif kind == "edit" and found is not None:
            store.edit(found)["value"] += 1
        elif kind == "remove" and found is not None:
            store.remove(found)


def contents(store: Store) -> tuple[Any, ...]:
    return (
        json.dumps(store.all("subscription")),
        json.dumps(list(store.newest_first("subscription"))[::-1]),
        *(json.dumps(store.where("subscription", "customer", customer)) for customer in CUSTOMERS),
        store.count("subscription"),
    )


@given(OPERATIONS, OPERATIONS, OPERATIONS)
def test_a_rollback_leaves_no_trace(
    before: list[tuple[str, int, str]], undone: list[tuple[str, int, str]], after: list[tuple[str, int, str]]
) -> None:
    store, other = Store(), Store()
    for each in (store, other):
        perform(each, before)
        each.commit()
    perform(store, undone)
    store.rollback()
    assert contents(store) == contents(other)
    for each in (store, other):
        perform(each, after)
        each.commit()
    assert contents(store) == contents(other)


@given(OPERATIONS)
def test_the_index_agrees_with_the_documents(operations: list[tuple[str, int, str]]) -> None:
    store = Store()
    perform(store, operations)
    for customer in CUSTOMERS:
        expected = [found for found in store.all("subscription") if found["customer"] == customer]
        assert store.where("subscription", "customer", customer) == expected


EMAILS = [None, "a@example.com", "b@example.com"]
CHANGES = st.lists(
    st.tuples(
        st.sampled_from(["add", "edit", "remove", "commit", "rollback", "undone"]),
        st.integers(0, 4),
        st.sampled_from(EMAILS),
        st.dictionaries(st.sampled_from("kl"), st.sampled_from("vw")),
    ),
    max_size=14,
)


@given(CHANGES, st.booleans())
def test_an_index_whose_keys_change_agrees_with_the_documents(changes: list[Any], always: bool) -> None:
    store = Store()

    def agrees() -> None:
        known = store.all("customer")
        for email in EMAILS[1:]:
            assert store.where("customer", "email", str(email)) == [each for each in known if each["email"] == email]
        for key, value in (("k", "v"), ("k", "w"), ("l", "v")):
            expected = [each for each in known if each["metadata"].get(key) == value]
            assert store.where("customer", "metadata", f"{key}={value}") == expected

    def change(kind: str, number: int, email: str | None, metadata: dict[str, str]) -> None:
        found = store.get("customer", f"cus_{number}")
        if kind == "add" and found is None:
            store.add({"object": "customer", "id": f"cus_{number}", "email": email, "metadata": metadata})
        elif kind == "edit" and found is not None:
            store.edit(found).update(email=email, metadata=metadata)
        elif kind == "remove" and found is not None:
            store.remove(found)
        elif kind == "commit":
            store.commit()
        elif kind == "rollback":
            store.rollback()

    for kind, number, email, metadata in changes:
        if kind == "undone":
            before = json.dumps(store.all("customer"))
            with store.undone():
                change("add", number, email, metadata)
                change("edit", number, None, metadata)
                agrees()
                change("remove", (number + 1) % 5, None, {})
            assert json.dumps(store.all("customer")) == before
        else:
            change(kind, number, email, metadata)
        if always:
            agrees()
    agrees()


@settings(max_examples=25)
@given(committed=OPERATIONS, lost=OPERATIONS)
def test_the_file_holds_what_was_committed(
    committed: list[tuple[str, int, str]], lost: list[tuple[str, int, str]], tmp_path_factory: Any
) -> None:
    path: Path = tmp_path_factory.mktemp("store") / "file"
    store = Store(path)
    perform(store, committed)
    store.commit()
    expected = contents(store)
    perform(store, lost)
    store.close()  # without a commit, as when the process is killed
    again = Store(path)
    assert contents(again) == expected
    again.close()


def test_an_object_that_came_back_is_at_its_old_place() -> None:
    store = Store()
    made = [store.add(subscription(number, "cus_a")) for number in range(3)]
    store.commit()
    store.remove(made[1])
    store.rollback()
    assert [found["id"] for found in store.all("subscription")] == ["sub_0", "sub_1", "sub_2"]
    assert [found["id"] for found in store.where("subscription", "customer", "cus_a")] == ["sub_0", "sub_1", "sub_2"]


def test_a_watcher_hears_of_every_touch_and_of_what_was_there() -> None:
    store = Store()
    first = store.add(subscription(0, "cus_a"))
    touched = store.watch("subscription")
    assert touched == {"sub_0"}
    touched.clear()
    store.commit()
    store.edit(first)
    store.add(subscription(1, "cus_b"))
    assert touched == {"sub_0", "sub_1"}
    touched.clear()
    store.rollback()
    assert touched == {"sub_0", "sub_1"}, "what was undone has changed again"
