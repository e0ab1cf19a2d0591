"""Projects, their tasks and comments. Every statement reads as if there were one tenant only."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Request
from psycopg import errors
from psycopg.rows import dict_row
from pydantic import BaseModel, Field

from example.app.parts import Sdk, User
from tenantry import AsyncTenantSession, LimitExceeded

router = APIRouter()
Id = Annotated[int, Field(ge=1, le=2**63 - 1)]


class NewProject(BaseModel):
    name: str = Field(min_length=1, max_length=200)


class NewTask(BaseModel):
    title: str = Field(min_length=1, max_length=500)
    due_on: date | None = None


class NewComment(BaseModel):
    body: str = Field(min_length=1, max_length=10_000)


async def _rows(session: AsyncTenantSession, statement: Any, parameters: tuple[Any, ...] = ()) -> list[dict[str, Any]]:
    cursor = await session.cursor(row_factory=dict_row).execute(statement, parameters)
    return await cursor.fetchall()


@router.get("/projects")
async def projects(sdk: Sdk) -> list[dict[str, Any]]:
    async with sdk.session() as session:
        return await _rows(session, "SELECT project_id, name, created_at FROM project ORDER BY name")


@router.post("/projects", status_code=201)
async def create_project(new: NewProject, sdk: Sdk) -> dict[str, Any]:
    """409 when the tenant has a project of that name, 403 when its plan allows no more projects."""
    async with sdk.session() as session:
        (found,) = await _rows(session, "SELECT count(*) AS projects FROM project")
        try:
            sdk.check_limit("projects", used=found["projects"])
        except LimitExceeded as error:
            raise HTTPException(403, f"the plan allows {error.limit} projects") from None
        try:
            (made,) = await _rows(
                session, "INSERT INTO project (name) VALUES (%s) RETURNING project_id, name", (new.name,)
            )
        except errors.UniqueViolation:
            raise HTTPException(409, "a project of that name exists") from None
    return made


@router.get("/projects/{project_id}/tasks")
async def tasks(project_id: Id, sdk: Sdk) -> list[dict[str, Any]]:
    async with sdk.session() as session:
        statement = "SELECT task_id, title, status, due_on FROM task WHERE project_id = %s ORDER BY task_id"
        return await _rows(session, statement, (project_id,))


@router.post("/projects/{project_id}/tasks", status_code=201)
async def create_task(project_id: Id, new: NewTask, sdk: Sdk) -> dict[str, Any]:
    """404 when the tenant has no such project; another tenant's is no project of it."""
    statement = "INSERT INTO task (project_id, title, due_on) VALUES (%s, %s, %s) RETURNING task_id, title, status"
    return await _child(sdk, statement, (project_id, new.title, new.due_on), "project")


@router.get("/tasks/{task_id}/comments")
async def comments(task_id: Id, sdk: Sdk) -> list[dict[str, Any]]:
    async with sdk.session() as session:
        statement = "SELECT comment_id, author, body, written_at FROM comment WHERE task_id = %s ORDER BY comment_id"
        return await _rows(session, statement, (task_id,))


@router.post("/tasks/{task_id}/comments", status_code=201)
async def create_comment(task_id: Id, new: NewComment, sdk: Sdk, user: User) -> dict[str, Any]:
    """404 when the tenant has no such task."""
    statement = "INSERT INTO comment (task_id, author, body) VALUES (%s, %s, %s) RETURNING comment_id, author, body"
    return await _child(sdk, statement, (task_id, user.name, new.body), "task")


async def _child(sdk: Sdk, statement: str, parameters: tuple[Any, ...], parent: str) -> dict[str, Any]:
    async with sdk.session() as session:
        try:
            (made,) = await _rows(session, statement, parameters)
        except errors.ForeignKeyViolation:
            raise HTTPException(404, f"no such {parent}") from None
    return made


@router.get("/open-tasks")
async def open_tasks(sdk: Sdk, request: Request) -> list[dict[str, Any]]:
    async with sdk.session() as session:
        return await _rows(session, "SELECT task_id, title, due_on, project, comments FROM open_task ORDER BY task_id")
