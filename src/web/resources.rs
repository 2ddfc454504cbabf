//! The resources that HTTP clients see, as a table: from it come the capabilities (PS3.18 8.9, annex H) and the OpenAPI document.
//!
//! A test asks the router for each of them, so that neither document names what is not there.

/// Who is meant to use a resource, and on which roots it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum On {
    /// Both DICOMweb roots.
    Both,
    /// The house root only.
    House,
}

/// What a method on a resource does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Does {
    /// Answers a search.
    Search,
    /// Gives objects.
    Objects,
    /// Gives metadata.
    Metadata,
    /// Gives frames or pixel data.
    Pixels,
    /// Gives other bulk data.
    Bulk,
    /// Gives pictures or pages.
    Rendered,
    /// Gives small pictures.
    Thumbnail,
    /// Takes objects.
    Store,
    /// Asks for a commitment.
    Commit,
    /// Asks what became of one.
    Committed,
}

/// One method on one path below a root.
pub struct Resource {
    /// Its path; variables in braces.
    pub path: &'static str,
    /// GET or POST.
    pub method: &'static str,
    /// Its name in PS3.18, for the documents.
    pub id: &'static str,
    /// What it does.
    pub does: Does,
    /// Where it stands.
    pub on: On,
}

const fn get(path: &'static str, id: &'static str, does: Does) -> Resource {
    Resource { path, method: "GET", id, does, on: On::Both }
}

const fn house(path: &'static str, method: &'static str, id: &'static str, does: Does) -> Resource {
    Resource { path, method, id, does, on: On::House }
}

/// All of them, in the order of annex H.
pub const RESOURCES: &[Resource] = &[
    get("/studies", "SearchForStudies", Does::Search),
    house("/studies", "POST", "StoreInstances", Does::Store),
    get("/studies/{study}", "RetrieveStudy", Does::Objects),
    house("/studies/{study}", "POST", "StoreStudyInstances", Does::Store),
    get("/studies/{study}/metadata", "RetrieveStudyMetadata", Does::Metadata),
    get("/studies/{study}/rendered", "RetrieveRenderedStudy", Does::Rendered),
    get("/studies/{study}/thumbnail", "RetrieveStudyThumbnail", Does::Thumbnail),
    get("/studies/{study}/bulkdata", "RetrieveStudyBulkData", Does::Bulk),
    get("/studies/{study}/pixeldata", "RetrieveStudyPixelData", Does::Pixels),
    get("/studies/{study}/series", "SearchForStudySeries", Does::Search),
    get("/studies/{study}/instances", "SearchForStudyInstances", Does::Search),
    get("/studies/{study}/series/{series}", "RetrieveSeries", Does::Objects),
    get("/studies/{study}/series/{series}/metadata", "RetrieveSeriesMetadata", Does::Metadata),
    get("/studies/{study}/series/{series}/rendered", "RetrieveRenderedSeries", Does::Rendered),
    get("/studies/{study}/series/{series}/thumbnail", "RetrieveSeriesThumbnail", Does::Thumbnail),
    get("/studies/{study}/series/{series}/bulkdata", "RetrieveSeriesBulkData", Does::Bulk),
    get("/studies/{study}/series/{series}/pixeldata", "RetrieveSeriesPixelData", Does::Pixels),
    get("/studies/{study}/series/{series}/instances", "SearchForStudySeriesInstances", Does::Search),
    get("/studies/{study}/series/{series}/instances/{instance}", "RetrieveInstance", Does::Objects),
    get("/studies/{study}/series/{series}/instances/{instance}/metadata", "RetrieveInstanceMetadata", Does::Metadata),
    get("/studies/{study}/series/{series}/instances/{instance}/rendered", "RetrieveRenderedInstance", Does::Rendered),
    get("/studies/{study}/series/{series}/instances/{instance}/thumbnail", "RetrieveInstanceThumbnail", Does::Thumbnail),
    get("/studies/{study}/series/{series}/instances/{instance}/bulkdata", "RetrieveInstanceBulkData", Does::Bulk),
    get("/studies/{study}/series/{series}/instances/{instance}/bulkdata/{path}", "RetrieveBulkData", Does::Bulk),
    get("/studies/{study}/series/{series}/instances/{instance}/pixeldata", "RetrieveInstancePixelData", Does::Pixels),
    get("/studies/{study}/series/{series}/instances/{instance}/frames/{frames}", "RetrieveFrames", Does::Pixels),
    get(
        "/studies/{study}/series/{series}/instances/{instance}/frames/{frames}/rendered",
        "RetrieveRenderedFrames",
        Does::Rendered,
    ),
    get(
        "/studies/{study}/series/{series}/instances/{instance}/frames/{frames}/thumbnail",
        "RetrieveFrameThumbnail",
        Does::Thumbnail,
    ),
    get("/series", "SearchForSeries", Does::Search),
    get("/instances", "SearchForInstances", Does::Search),
    house("/commitment-requests/{transaction}", "POST", "RequestStorageCommitment", Does::Commit),
    house("/commitment-requests/{transaction}", "GET", "CheckStorageCommitment", Does::Committed),
];

impl Does {
    /// The media types of an answer.
    pub fn media(self) -> &'static [&'static str] {
        match self {
            Does::Search | Does::Metadata | Does::Store => {
                &["application/dicom+json", "multipart/related; type=\"application/dicom+xml\"", "application/json"]
            }
            Does::Commit | Does::Committed => &["application/dicom+json", "application/json"],
            Does::Objects => &["multipart/related; type=\"application/dicom\"", "application/dicom"],
            Does::Pixels | Does::Bulk => &["multipart/related; type=\"application/octet-stream\"", "application/octet-stream"],
            Does::Rendered => &["image/jpeg", "image/png", "image/gif", "image/jp2", "text/html", "text/plain", "text/xml"],
            Does::Thumbnail => &["image/jpeg", "image/png", "image/gif", "image/jp2"],
        }
    }

    /// The parameters of a request beside `accept` and `charset`, with what they may be.
    pub fn parameters(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Does::Search => &[
                ("limit", "integer"),
                ("offset", "integer"),
                ("includefield", "string"),
                ("fuzzymatching", "boolean"),
                ("emptyvaluematching", "boolean"),
                ("multiplevaluematching", "boolean"),
                ("StudyDate", "date"),
                ("StudyTime", "time"),
                ("AccessionNumber", "string"),
                ("ModalitiesInStudy", "string"),
                ("ReferringPhysicianName", "string"),
                ("PatientName", "string"),
                ("PatientID", "string"),
                ("StudyInstanceUID", "uid"),
                ("StudyID", "string"),
                ("Modality", "string"),
                ("SeriesInstanceUID", "uid"),
                ("SeriesNumber", "string"),
                ("PerformedProcedureStepStartDate", "date"),
                ("PerformedProcedureStepStartTime", "time"),
                ("RequestAttributesSequence.ScheduledProcedureStepID", "string"),
                ("RequestAttributesSequence.RequestedProcedureID", "string"),
                ("SOPClassUID", "uid"),
                ("SOPInstanceUID", "uid"),
                ("InstanceNumber", "string"),
                ("TimezoneOffsetFromUTC", "zone"),
            ],
            Does::Rendered => &[
                ("annotation", "annotation"),
                ("quality", "quality"),
                ("viewport", "viewport"),
                ("window", "window"),
                ("iccprofile", "icc"),
                ("overlays", "boolean"),
            ],
            Does::Thumbnail => &[("viewport", "viewport2")],
            _ => &[],
        }
    }

    /// The statuses of its answers.
    pub fn statuses(self) -> &'static [u16] {
        match self {
            Does::Search => &[200, 204, 400, 406, 413],
            Does::Objects | Does::Pixels | Does::Bulk => &[200, 206, 304, 400, 404, 406, 410, 416, 503],
            Does::Rendered | Does::Thumbnail => &[200, 206, 304, 400, 404, 406, 410, 416, 503],
            Does::Metadata => &[200, 304, 400, 404, 406, 410],
            Does::Store => &[200, 202, 400, 406, 408, 409, 413, 415, 507],
            Does::Commit => &[200, 202, 400, 406, 409, 413, 415, 503],
            Does::Committed => &[200, 202, 400, 404, 406],
        }
    }
}
